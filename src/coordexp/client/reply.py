"""The answer in what a server sent: its text, and how probable each token was.

A server tells the text of each token as well as it can. A character that is spread over several
tokens is told with the last of them, or by none, who say U+FFFD; such tokens are read from what the
text has between their neighbours, which is where `coordexp predict` has them too.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from coordexp.answers.answer import Answer, FinishReason, with_masses
from coordexp.answers.belief import CoordBelief, belief_of_listed
from coordexp.coord_tokens.codec import (
    CoordAlphabet,
    contains_coord_token,
    is_coord_token,
    token_to_int,
)
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS
from coordexp.errors import CoordExpError
from coordexp.rendering.style import RenderingStyle

# Tells that there are bytes which form no character by themselves; no text at all says the same.
_PART = "\ufffd"
# A geometry of which only quotes and commas are left.
_HOLLOW = re.compile(rf'"(?:{"|".join(GEOMETRY_KINDS)})"\s*:\s*\[\s*[",][\s",]*\]')
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

    ASCII is always told as it is, for no token holds a part of such a character. So the text is cut
    there, and only what lies between is shared out.

    Args:
        text: Of the whole answer.
        tokens: Of each token, as the server tells it.

    Raises:
        CoordExpError: If the tokens are not those of the text.

    Example:
        >>> align_tokens('a é"', ["a ", "\ufffd", "\ufffd", '"'])
        ('a ', '', 'é', '"')
    """
    told = [_Told(char, owner) for owner, token in enumerate(tokens) for char in token or _PART]
    pieces: list[list[str]] = [[] for _ in tokens]
    at = place = 0
    while True:
        until, then = at, place
        while until < len(text) and not text[until].isascii():
            until += 1
        while then < len(told) and not told[then].char.isascii():
            then += 1
        _share_out(text[at:until], told[place:then], pieces)
        if until == len(text) and then == len(told):
            return tuple("".join(piece) for piece in pieces)
        if until == len(text) or then == len(told) or text[until] != told[then].char:
            raise _other_tokens(text[at:], "".join(each.char for each in told[place : then + 1]))
        pieces[told[then].owner].append(text[until])
        at, place = until + 1, then + 1


class _Told(NamedTuple):
    """A character as it is told, and the token that tells it."""

    char: str
    owner: int


def _share_out(text: str, told: Sequence[_Told], pieces: list[list[str]]) -> None:
    """Add a text without ASCII to the pieces of the tokens that tell it.

    What stands between characters that were told as they are belongs to the last token that has a
    part of one.
    """
    shorter = min(len(text), len(told))
    left = 0
    while left < shorter and text[left] == told[left].char:
        left += 1
    right = 0
    while right < shorter - left and text[-1 - right] == told[-1 - right].char:
        right += 1
    between = text[left : len(text) - right]
    parts = [each.owner for each in told[left : len(told) - right] if each.char == _PART]
    if not parts and (between or left + right < len(told)):
        raise _other_tokens(text, "".join(each.char for each in told))
    for char, owner in told[:left]:
        pieces[owner].append(char)
    if parts:
        pieces[parts[-1]].append(between)
    for char, owner in told[len(told) - right :]:
        pieces[owner].append(char)


def _other_tokens(rest: str, token: str) -> CoordExpError:
    return CoordExpError(
        f"the server's log probabilities are of another text than its answer: expected a token at "
        f"{rest[:40]!r}, got {token[:40]!r} (is it told to give token ids in place of tokens?)"
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
