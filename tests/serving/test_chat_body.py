import base64
import json

import pytest

from coordexp.errors import InputError
from coordexp.serving.chat_body import LONGEST_PROMPT, read_chat_body
from tests.serving.conftest import STYLE

URL = "data:image/png;base64," + base64.b64encode(b"picture").decode()
PICTURE = {"type": "image_url", "image_url": {"url": URL, "detail": "auto"}}
TEXT = {"type": "text", "text": "Find cats."}


def body(*content: object, **fields: object) -> bytes:
    messages = [{"role": "user", "content": list(content) or [PICTURE]}]
    return json.dumps({"messages": messages, **fields}).encode()


def test_a_question_is_a_picture_with_or_without_words() -> None:
    asked = read_chat_body(body(PICTURE), STYLE, "m")
    assert (asked.picture, asked.prompt, asked.max_tokens) == (b"picture", None, None)
    assert asked.top_logprobs is None
    asked = read_chat_body(body(TEXT, PICTURE, model="m", max_tokens=7), STYLE, "m")
    assert (asked.prompt, asked.max_tokens) == ("Find cats.", 7)
    asked = read_chat_body(body(PICTURE, max_completion_tokens=5, max_tokens=7), STYLE, "m")
    assert asked.max_tokens == 5  # the newer name of the two
    asked = read_chat_body(body(PICTURE, logprobs=True, top_logprobs=5), STYLE, "m")
    assert asked.top_logprobs == 5


def test_the_system_prompt_of_training_may_be_said() -> None:
    messages = [
        {"role": "system", "content": STYLE.system_prompt},
        {"role": "user", "content": [PICTURE]},
    ]
    read_chat_body(json.dumps({"messages": messages}).encode(), STYLE, "m")
    messages[0]["content"] = "Be nice."
    with pytest.raises(InputError, match="system prompt of training"):
        read_chat_body(json.dumps({"messages": messages}).encode(), STYLE, "m")


@pytest.mark.parametrize(
    "roles", [["system"], ["user", "user"], ["user", "system"], ["system", "system", "user"]]
)
def test_a_talk_of_several_turns_is_refused(roles: list[str]) -> None:
    messages = [{"role": role, "content": STYLE.system_prompt} for role in roles]
    messages[-1]["content"] = [PICTURE]  # type: ignore[assignment] # of a message
    with pytest.raises(InputError, match="one question by the user"):
        read_chat_body(json.dumps({"messages": messages}).encode(), STYLE, "m")


def test_what_changes_nothing_is_passed_over() -> None:
    read_chat_body(
        body(
            temperature=0.0,
            top_p=0.9,
            n=1,
            seed=7,
            stop=None,
            repetition_penalty=1,
            skip_special_tokens=False,
            stream=False,
            user="me",
        ),
        STYLE,
        "m",
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"temperature": 0.7}, "temperature: 0.7 cannot be done here .*greedy"),
        ({"stream": True}, "stream: True"),
        ({"stream": 1}, "stream: 1"),
        ({"n": 2}, "n: 2"),
        ({"n": True}, "n: True"),
        ({"skip_special_tokens": True}, "coordinates would vanish"),
        ({"stop": ["}"]}, "stop"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_regex": "a"}, "guided_regex: unknown here"),
        ({"model": "other"}, "there is no 'other' here; it is called 'm'"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"top_logprobs": 3}, "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 1001}, "at most 1000"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_chat_body(body(**fields), STYLE, "m")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": [{"role": "assistant", "content": "a"}]}',
        b'{"messages": [{"role": "user", "content": [{"type": "audio"}]}]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"messages": [{"role": "user", "content": "no picture"}]}',
    ],
)
def test_a_malformed_body_is_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        read_chat_body(content, STYLE, "m")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/picture.png",
        "file:///etc/hostname",
        "/etc/hostname",
        "data:image/png,abc",
        "data:image/png,YWJj",
        "http://127.0.0.1:1/picture;base64,YWJj",
        "data:image/png;base64,@@@",
        "",
    ],
)
def test_nothing_is_fetched_or_opened(url: str) -> None:
    with pytest.raises(InputError, match="image_url"):
        read_chat_body(body({"type": "image_url", "image_url": {"url": url}}), STYLE, "m")


def test_a_prompt_has_an_end() -> None:
    longest = {"type": "text", "text": "a" * LONGEST_PROMPT}
    read_chat_body(body(PICTURE, longest), STYLE, "m")
    longer = {"type": "text", "text": "a" * (LONGEST_PROMPT + 1)}
    with pytest.raises(InputError, match="at most 8,192 characters"):
        read_chat_body(body(PICTURE, longer), STYLE, "m")


def test_one_picture_and_one_text_at_most() -> None:
    for parts in ([PICTURE, PICTURE], [TEXT], [PICTURE, TEXT, TEXT]):
        with pytest.raises(InputError, match="expected one"):
            read_chat_body(body(*parts), STYLE, "m")
