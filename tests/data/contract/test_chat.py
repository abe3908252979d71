import json
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.chat import Chat, Message, parse_chat, parse_sample
from coordexp.data.contract.record import Record
from coordexp.data.files.jsonl import SampleFile
from coordexp.errors import RecordError

Turn = dict[str, object]
USER: Turn = {"role": "user", "content": "What is this?"}
ASSISTANT: Turn = {"role": "assistant", "content": "A cat."}
SYSTEM: Turn = {"role": "system", "content": "Be brief."}


def chat_of(*messages: Turn, **others: object) -> dict[str, object]:
    return {"messages": list(messages), **others}


def test_text_alone_is_a_chat() -> None:
    chat = parse_chat(chat_of(SYSTEM, USER, ASSISTANT, USER, ASSISTANT), SPEC_ALPHABET)
    assert [message.role for message in chat.messages] == [
        *("system", "user", "assistant", "user", "assistant"),
    ]
    assert chat.images == ()


def test_pictures_without_marks_come_first_in_the_first_question() -> None:
    chat = parse_chat(chat_of(SYSTEM, USER, ASSISTANT, images=["a.png", "b.png"]), SPEC_ALPHABET)
    assert chat.messages[1] == Message("user", "<image><image>What is this?")
    assert chat.images == ("a.png", "b.png")


def test_marks_say_where_pictures_go() -> None:
    question = {"role": "user", "content": "Is <image> like <image>?"}
    chat = parse_chat(chat_of(question, ASSISTANT, images=["a.png", "b.png"]), SPEC_ALPHABET)
    assert chat.messages[0].content == "Is <image> like <image>?"


BAD = [
    (chat_of(USER, ASSISTANT, objects=[]), "a chat has messages and images alone, got objects"),
    ({"messages": "hello"}, "messages: expected a list of messages, got 'hello'"),
    ({"messages": []}, "messages: expected a list"),
    (chat_of(USER, ASSISTANT, images="a.png"), "images: expected a list of relative paths"),
    (chat_of(USER, ASSISTANT, images=["../a.png"]), "images[0]: the path climbs out"),
    (chat_of(USER, ASSISTANT, images=["/a.png"]), "images[0]: expected a path relative"),
    (chat_of(USER), "messages: expected user and assistant in turn, the assistant last, got user"),
    (chat_of(SYSTEM), "messages: expected user and assistant in turn"),
    (chat_of(ASSISTANT, USER), "messages: expected user and assistant in turn"),
    (chat_of(USER, SYSTEM, ASSISTANT), "messages: expected user and assistant in turn"),
    (
        chat_of(USER, {"role": "tool", "content": "x"}),
        "messages[1]: expected the role system, user",
    ),
    (chat_of({"role": "user"}, ASSISTANT), "messages[0]: expected role and content, both text"),
    (chat_of({**USER, "name": "x"}, ASSISTANT), "messages[0]: expected role and content"),
    (chat_of({**USER, "content": ["x"]}, ASSISTANT), "messages[0]: expected role and content"),
    (chat_of(USER, {**ASSISTANT, "content": " "}), "messages[1]: there is nothing to learn"),
    (chat_of(USER, {**ASSISTANT, "content": "<image>"}), "messages[1]: <image> belongs into"),
    (chat_of({**USER, "content": "\ud800"}, ASSISTANT), "messages[0]: half of a surrogate pair"),
    (
        chat_of({**USER, "content": "<image>"}, ASSISTANT, images=["a.png", "b.png"]),
        "images: 2 pictures for 1 times <image>",
    ),
    (chat_of({**USER, "content": "<image>"}, ASSISTANT), "images: 0 pictures for 1 times <image>"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=range(len(BAD)))
def test_what_is_no_chat_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_sample(data, SPEC_ALPHABET)
    assert str(caught.value).startswith(message)


def test_records_and_chats_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record: dict[str, object] = {"images": ["a.png"], "width": 9, "height": 9, "objects": []}
    bad = chat_of(ASSISTANT)
    path.write_text("\n".join(map(json.dumps, [record, chat_of(USER, ASSISTANT), bad])))
    file = SampleFile(path, SPEC_ALPHABET)
    assert isinstance(file[0], Record)
    assert isinstance(file[1], Chat)
    with pytest.raises(RecordError, match=r"a\.jsonl:3: messages: expected user and"):
        file[2]
