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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard, cast

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract import rules
from coordexp.data.contract.faults import Fault, raise_first
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.contract.record_faults import record_faults
from coordexp.data.contract.special_tokens import special_token_faults
from coordexp.data.contract.text import path_faults, unicode_faults

IMAGE_MARK = "<image>"
_KEYS = frozenset(("messages", "images"))
_ROLES = ("system", "user", "assistant")


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


def is_chat(data: object) -> bool:
    """Return whether a decoded JSON line is a chat, right or wrong, and no record."""
    return isinstance(data, dict) and "messages" in data


def parse_sample(data: object, alphabet: CoordAlphabet) -> Sample:
    """Return the record or the chat that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract.
    """
    if is_chat(data):
        return parse_chat(cast("dict[str, object]", data), alphabet)
    return parse_record(data, alphabet)


def sample_faults(data: object, alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield every violation of a decoded JSON line, of whichever kind it is."""
    if is_chat(data):
        yield from chat_faults(cast("dict[str, object]", data), alphabet)
    else:
        yield from record_faults(data, alphabet)


def parse_chat(data: Mapping[str, object], alphabet: CoordAlphabet) -> Chat:
    """Return the chat that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract.
    """
    raise_first(chat_faults(data, alphabet))
    rows = cast("list[dict[str, str]]", data["messages"])
    images = tuple(cast("list[str]", data.get("images", [])))
    messages = tuple(Message(row["role"], row["content"]) for row in rows)
    return Chat(messages=_marked(messages, len(images)), images=images)


def chat_faults(data: Mapping[str, object], alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield every violation of a chat, in the order in which it is read."""
    if others := sorted(data.keys() - _KEYS):
        message = f"a chat has messages and images alone, got {', '.join(others)} as well"
        yield Fault(rules.CHAT, message)
    rows, images = data["messages"], data.get("images", [])
    is_list = isinstance(rows, list) and bool(rows)
    if not is_list:
        yield Fault(rules.CHAT, f"messages: expected a list of messages, got {shown(rows)}")
    if not isinstance(images, list):
        message = f"images: expected a list of relative paths, got {shown(images)}"
        yield Fault(rules.CHAT, message)
    messages = cast("list[object]", rows if is_list else [])
    for place, row in enumerate(messages):
        yield from _message_faults(row, f"messages[{place}]", alphabet)
    turns = [row for row in messages if _is_message(row)]
    if turns and len(turns) == len(messages):  # else what is missing has been told
        yield from _role_faults([row["role"] for row in turns])
    paths = images if isinstance(images, list) else []
    for path in paths:
        yield from path_faults(path)
    marks = sum(row["content"].count(IMAGE_MARK) for row in turns)
    if isinstance(images, list) and len(turns) == len(messages) and marks not in (0, len(paths)):
        yield Fault(rules.CHAT, f"images: {len(paths)} pictures for {marks} times {IMAGE_MARK}")


def _is_message(row: object) -> TypeGuard[dict[str, str]]:
    return (
        isinstance(row, dict)
        and row.keys() == {"role", "content"}
        and all(isinstance(value, str) for value in row.values())
    )


def _message_faults(row: object, key: str, alphabet: CoordAlphabet) -> Iterator[Fault]:
    if not _is_message(row):
        message = f"{key}: expected role and content, both text, got {shown(row)}"
        yield Fault(rules.CHAT, message)
        return
    role, content = row["role"], row["content"]
    yield from unicode_faults(key, content, rules.CHAT)
    yield from special_token_faults(key, content, alphabet)
    if role not in _ROLES:
        message = f"{key}: expected the role system, user or assistant, got {shown(role)}"
        yield Fault(rules.CHAT, message)
    if role != "user" and IMAGE_MARK in content:
        yield Fault(rules.CHAT, f"{key}: {IMAGE_MARK} belongs into a user's message")
    if role == "assistant" and not content.strip():
        yield Fault(rules.CHAT, f"{key}: there is nothing to learn from an empty answer")


def _role_faults(roles: list[str]) -> Iterator[Fault]:
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or turns != expected:
        message = (
            "messages: expected user and assistant in turn, the assistant last, "
            f"got {', '.join(roles)}"
        )
        yield Fault(rules.CHAT, message)


def _marked(messages: tuple[Message, ...], images: int) -> tuple[Message, ...]:
    """Return the messages with a mark for each picture."""
    if any(IMAGE_MARK in message.content for message in messages):
        return messages
    place = [message.role for message in messages].index("user")
    first = Message("user", IMAGE_MARK * images + messages[place].content)
    return (*messages[:place], first, *messages[place + 1 :])
