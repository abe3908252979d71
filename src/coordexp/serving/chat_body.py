"""What is asked in a request for a chat completion.

Only what this server does is taken. Whatever would change an answer and cannot be done is refused
by name; what changes nothing is passed over.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordexp.errors import InputError
from coordexp.rendering.style import RenderingStyle

# Fields of OpenAI's and vLLM's requests, with the values under which an answer is greedy, single
# and whole.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "best_of": (1,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "length_penalty": (1,),
    "logit_bias": ({},),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "skip_special_tokens": (False,),
    "stop": ([], ""),
    "stop_token_ids": ([],),
    "stream": (False,),
    "temperature": (0,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "use_beam_search": (False,),
}
_PASSED_OVER = frozenset(
    {
        "add_generation_prompt",
        "metadata",
        "parallel_tool_calls",
        "seed",
        "service_tier",
        "spaces_between_special_tokens",
        "store",
        "stream_options",
        "top_k",
        "top_p",
        "user",
    }
)
_INSTEAD = {
    "temperature": "answers are greedy",
    "skip_special_tokens": "coordinates would vanish",
    "stream": "an answer comes as a whole",
}

LONGEST_PROMPT = 8192
"""Characters; longer ones would take the memory of everyone's answers."""


class _PictureUrl(BaseModel):
    """Where a picture is."""

    url: str


class _PicturePart(BaseModel):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: _PictureUrl


class _TextPart(BaseModel):
    """Words in a message."""

    type: Literal["text"]
    text: str


_Part = Annotated[_PicturePart | _TextPart, Field(discriminator="type")]


class _ChatTurn(BaseModel):
    """One message."""

    role: Literal["system", "user"]
    content: str | list[_Part]

    @property
    def texts(self) -> list[str]:
        if isinstance(self.content, str):
            return [self.content]
        return [part.text for part in self.content if isinstance(part, _TextPart)]

    @property
    def pictures(self) -> list[str]:
        if isinstance(self.content, str):
            return []
        return [part.image_url.url for part in self.content if isinstance(part, _PicturePart)]


class _ChatBody(BaseModel):
    """The fields that are looked at."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    messages: Annotated[list[_ChatTurn], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """What is asked.

    Args:
        picture: The content of a picture's file.
        prompt: None asks what the model was trained on.
        max_tokens: Longest answer; None for the server's own limit.
        top_logprobs: How many likely bins are told at a coordinate; None tells no probabilities.
    """

    picture: bytes
    prompt: str | None
    max_tokens: int | None
    top_logprobs: int | None


def read_chat_body(content: bytes, style: RenderingStyle, name: str) -> ChatQuestion:
    """Return what a request asks.

    Args:
        content: Its body.
        style: How the model was trained to be asked.
        name: What it is called here.

    Raises:
        InputError: If it is no such request, or asks for what is not done here.
    """
    try:
        body = _ChatBody.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise InputError(f"{place}: {first['msg']}") from None
    if body.model is not None and body.model != name:
        raise InputError(f"model: there is no {body.model!r} here; it is called {name!r}")
    _check_others(body.model_extra or {})
    return ChatQuestion(
        picture=_picture(body),
        prompt=_prompt(body, style),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        top_logprobs=_top_logprobs(body, style),
    )


def _check_others(fields: Mapping[str, object]) -> None:
    for field, value in fields.items():
        if field in _PASSED_OVER or value is None:
            continue
        if field not in _NEUTRAL:
            raise InputError(f"{field}: unknown here; leave it out")
        if not any(
            (type(value) is type(one) and value == one) or _same_number(value, one)
            for one in _NEUTRAL[field]
        ):
            why = f" ({_INSTEAD[field]})" if field in _INSTEAD else ""
            raise InputError(f"{field}: {value!r} cannot be done here{why}; leave it out")


def _same_number(value: object, one: object) -> bool:
    numbers = (int, float)
    return type(value) in numbers and type(one) in numbers and value == one


def _picture(body: _ChatBody) -> bytes:
    urls = [url for turn in body.messages for url in turn.pictures]
    if len(urls) != 1:
        raise InputError(f"messages: expected one picture (image_url), got {len(urls)}")
    head, comma, content = urls[0].partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise InputError(
            "image_url: expected data:image/png;base64,...; addresses and files are not opened "
            f"here, got {urls[0][:40]!r}"
        )
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"image_url: not base64: {error}") from None


def _prompt(body: _ChatBody, style: RenderingStyle) -> str | None:
    *before, last = body.messages
    if last.role != "user" or any(turn.role != "system" for turn in before) or len(before) > 1:
        raise InputError("messages: expected one question by the user, and a system prompt if any")
    for turn in before:
        if "".join(turn.texts) != (style.system_prompt or ""):
            trained = "none" if style.system_prompt is None else repr(style.system_prompt)
            raise InputError(f"messages: the system prompt of training was another one: {trained}")
    if len(last.texts) > 1:
        raise InputError(f"messages: expected one text, got {len(last.texts)}")
    prompt = last.texts[0] if last.texts else ""
    if len(prompt) > LONGEST_PROMPT:
        raise InputError(
            f"messages: at most {LONGEST_PROMPT:,} characters of text, got {len(prompt):,}"
        )
    return prompt if prompt.strip() else None


def _top_logprobs(body: _ChatBody, style: RenderingStyle) -> int | None:
    if not body.logprobs:
        if body.top_logprobs:
            raise InputError("top_logprobs: needs logprobs true")
        return None
    asked = body.top_logprobs or 0
    if asked > style.alphabet.bins:
        raise InputError(
            f"top_logprobs: at most {style.alphabet.bins}, as many as there are bins; got {asked}"
        )
    return asked
