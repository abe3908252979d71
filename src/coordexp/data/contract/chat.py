"""Ordinary chat data among records: a conversation, with pictures or without, to be imitated.

One line of a JSONL file::

    {"messages": [{"role": "user", "content": "<image>What is this?"},
                  {"role": "assistant", "content": "A cat on a rug."}],
     "images": ["images/1.jpg"]}

The roles are `user` and `assistant` in turn, after a `system` message perhaps; the last message is
the assistant's. `<image>` in a user's message says where each picture goes; without any, the
pictures come first in the first user message. `images` may be missing. Other keys than these two
are an error: a line with `objects` is a record.
"""

from dataclasses import dataclass

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.contract.special_tokens import check_no_special_token
from coordexp.data.contract.text import check_unicode, checked_image_path
from coordexp.errors import RecordError

IMAGE_MARK = "<image>"
_KEYS = frozenset(("messages", "images"))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Args:
        role: `system`, `user` or `assistant`.
        content: Its text; in a user's, `<image>` stands for a picture.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation.

    Args:
        messages: In order; the last one is the assistant's.
        images: Paths relative to the JSONL file's folder, one for each `<image>`.
    """

    messages: tuple[Message, ...]
    images: tuple[str, ...]


Sample = Record | Chat


def parse_sample(data: object, alphabet: CoordAlphabet = SPEC_ALPHABET) -> Sample:
    """Return the record or the chat that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract.
    """
    if isinstance(data, dict) and "messages" in data:
        return parse_chat(data, alphabet)
    return parse_record(data, alphabet)


def parse_chat(data: dict[str, object], alphabet: CoordAlphabet = SPEC_ALPHABET) -> Chat:
    """Return the chat that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract.
    """
    if others := sorted(data.keys() - _KEYS):
        raise RecordError(f"a chat has messages and images alone, got {', '.join(others)} as well")
    rows, images = data["messages"], data.get("images", [])
    if not isinstance(rows, list) or not rows:
        raise RecordError(f"messages: expected a list of messages, got {shown(rows)}")
    if not isinstance(images, list):
        raise RecordError(f"images: expected a list of relative paths, got {shown(images)}")
    messages = tuple(_message(row, place, alphabet) for place, row in enumerate(rows))
    _check_roles([message.role for message in messages])
    paths = tuple(checked_image_path(path) for path in images)
    return Chat(messages=_marked(messages, len(paths)), images=paths)


def _message(row: object, place: int, alphabet: CoordAlphabet) -> Message:
    key = f"messages[{place}]"
    match row:
        case {"role": str(role), "content": str(content), **others} if not others:
            check_unicode(key, content)
            check_no_special_token(key, content, alphabet)
        case _:
            raise RecordError(f"{key}: expected role and content, both text, got {shown(row)}")
    if role not in ("system", "user", "assistant"):
        raise RecordError(f"{key}: expected the role system, user or assistant, got {shown(role)}")
    if role != "user" and IMAGE_MARK in content:
        raise RecordError(f"{key}: {IMAGE_MARK} belongs into a user's message")
    if role == "assistant" and not content.strip():
        raise RecordError(f"{key}: there is nothing to learn from an empty answer")
    return Message(role, content)


def _check_roles(roles: list[str]) -> None:
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or turns != expected:
        raise RecordError(
            "messages: expected user and assistant in turn, the assistant last, "
            f"got {', '.join(roles)}"
        )


def _marked(messages: tuple[Message, ...], images: int) -> tuple[Message, ...]:
    """Return the messages with a mark for each picture."""
    marks = sum(message.content.count(IMAGE_MARK) for message in messages)
    if marks == images:
        return messages
    if marks:
        raise RecordError(f"images: {images} pictures for {marks} times {IMAGE_MARK}")
    place = [message.role for message in messages].index("user")
    first = Message("user", IMAGE_MARK * images + messages[place].content)
    return (*messages[:place], first, *messages[place + 1 :])
