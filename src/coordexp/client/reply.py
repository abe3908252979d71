"""The answer in what a server sent: its text, and how probable each token was.

A server tells the text of each token as well as it can. Of a character that is spread over several
tokens that is nothing or U+FFFD; such tokens are read from what the text has between their
neighbours, which is where `coordexp predict` has them too.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from coordexp.answers.answer import Answer, FinishReason, with_masses
from coordexp.answers.belief import CoordBelief, belief_of_listed
from coordexp.coord_tokens.codec import (
    CoordAlphabet,
    contains_coord_token,
    is_coord_token,
    token_to_int,
)
from coordexp.errors import CoordExpError
from coordexp.rendering.style import RenderingStyle

_UNREADABLE = "\ufffd"
# A geometry of which only quotes and commas are left.
_HOLLOW = re.compile(r'"(?:bbox_2d|poly|line)"\s*:\s*\[\s*[",][\s",]*\]')
_REASONS: Mapping[str | None, FinishReason] = {"stop": "eos", "length": "length"}


class ListedToken(BaseModel):
    """A token that was likely at a place."""

    token: str
    logprob: float


class SaidToken(ListedToken):
    """A token of the answer, and those that were likely in its place."""

    top_logprobs: list[ListedToken] = []


class SaidTokens(BaseModel):
    """All tokens of the answer."""

    content: list[SaidToken] | None = None


class SaidMessage(BaseModel):
    """The text of the answer."""

    content: str | None = None


class ReplyChoice(BaseModel):
    """One answer."""

    message: SaidMessage
    logprobs: SaidTokens | None = None
    finish_reason: str | None = None


class ChatReply(BaseModel):
    """The part of a chat completion that is read."""

    choices: Annotated[list[ReplyChoice], Field(min_length=1)]


def read_reply(content: bytes, style: RenderingStyle, end_marks: Sequence[str]) -> Answer:
    """Return the answer that a server has sent.

    Args:
        content: The body of its reply.
        style: How the model was trained to answer.
        end_marks: Of the model's family.

    Raises:
        CoordExpError: If it is no chat completion, its coordinates have vanished, or it does not
            say how probable its tokens are.
    """
    try:
        choice = ChatReply.model_validate_json(content).choices[0]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise CoordExpError(
            f"the server's reply is no chat completion: {place}: {first['msg']}"
        ) from None
    reason = _REASONS.get(choice.finish_reason)
    if reason is None:
        raise CoordExpError(f"the server broke the answer off: {choice.finish_reason}")
    text = choice.message.content or ""
    tokens = (choice.logprobs.content if choice.logprobs else None) or []
    if style.coord_tokens:
        _check_coordinates(text, tokens, style.alphabet)
    if text and not tokens:
        raise CoordExpError(
            "the server gave no log probabilities, and scores are made of them; does it know "
            "logprobs and top_logprobs?"
        )
    return _answer(text, tokens, reason, style, end_marks)


def _answer(
    text: str,
    tokens: list[SaidToken],
    reason: FinishReason,
    style: RenderingStyle,
    end_marks: Sequence[str],
) -> Answer:
    if reason == "eos" and tokens and tokens[-1].token in end_marks:
        text = text.removesuffix(tokens[-1].token)
        tokens = tokens[:-1]
    pieces = align_tokens(text, [token.token for token in tokens])
    beliefs = {
        place: _belief(piece, tokens[place], style.alphabet)
        for place, piece in enumerate(pieces)
        if style.coord_tokens and is_coord_token(piece, style.alphabet)
    }
    chosen = [min(math.exp(token.logprob), 1.0) for token in tokens]
    return Answer(
        text=text,
        pieces=pieces,
        probabilities=with_masses(chosen, beliefs),
        finish_reason=reason,
        beliefs=beliefs,
        passes=len(tokens),
    )


def align_tokens(text: str, tokens: Sequence[str]) -> tuple[str, ...]:
    r"""Return the piece of the text that belongs to each token; they join to the text.

    Args:
        text: Of the whole answer.
        tokens: Of each token, as the server tells it.

    Raises:
        CoordExpError: If the tokens are not those of the text.

    Example:
        >>> align_tokens('a é"', ["a ", "\ufffd", "\ufffd", '"'])
        ('a ', '', 'é', '"')
    """
    pieces: list[str] = []
    at = 0
    waiting: list[str] = []
    for token in tokens:
        if not waiting and token and text.startswith(token, at):
            pieces.append(token)
            at += len(token)
            continue
        if not token or _UNREADABLE in token:
            waiting.append(token)
            pieces.append("")
            continue
        begin = text.find(token, at + _least_length(waiting)) if waiting else -1
        if begin < 0:
            raise _other_tokens(text[at:], token)
        pieces[-1] = text[at:begin]
        pieces.append(token)
        at, waiting = begin + len(token), []
    if waiting:
        pieces[-1] = text[at:]
    elif at < len(text):
        raise _other_tokens(text[at:], "nothing")
    return tuple(pieces)


def _least_length(waiting: Sequence[str]) -> int:
    """Return how many characters tokens stand for at least that were not told as they are."""
    return sum(len(token) - token.count(_UNREADABLE) for token in waiting) + 1


def _other_tokens(rest: str, token: str) -> CoordExpError:
    return CoordExpError(
        f"the server's log probabilities are of another text than its answer: expected a token at "
        f"{rest[:40]!r}, got {token!r} (is it told to give token ids in place of tokens?)"
    )


def _check_coordinates(text: str, tokens: Sequence[SaidToken], alphabet: CoordAlphabet) -> None:
    if contains_coord_token(text, alphabet):
        return
    were_said = any(is_coord_token(token.token, alphabet) for token in tokens)
    if were_said or _HOLLOW.search(text):
        raise CoordExpError(
            "the coordinates have vanished from the server's answer, which has none but places for "
            "them: it leaves special tokens out, though it was asked for them with "
            "skip_special_tokens false; use a server that knows this field, such as vLLM or "
            "coordexp serve"
        )


def _belief(piece: str, token: SaidToken, alphabet: CoordAlphabet) -> CoordBelief:
    chosen = token_to_int(piece, alphabet)
    listed = {
        token_to_int(other.token, alphabet): math.exp(other.logprob)
        for other in token.top_logprobs
        if is_coord_token(other.token, alphabet)
    }
    return belief_of_listed(chosen, {chosen: math.exp(token.logprob), **listed})
