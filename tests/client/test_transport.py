import socket
from pathlib import Path

import pytest
from PIL import Image

from coordexp.client.detect import Client
from coordexp.client.transport import Patience
from coordexp.errors import CoordExpError, InputError
from tests.client.conftest import PlayedBack, Reply
from tests.client.replies import SIX, completion
from tests.client.test_detect import AT_ONCE

PICTURE = Image.new("RGB", (64, 64))
BUSY: Reply = (429, {"Retry-After": "0"}, b'{"error": {"message": "the queue is full"}}')
DOWN: Reply = (503, {}, b"<html>")
HUNG_UP: Reply = (0, {}, b"")


def client_of(url: str, asked: Path, patience: Patience = AT_ONCE) -> Client:
    return Client(url, asked, name="digits", patience=patience)


def test_a_busy_server_is_asked_again(server: PlayedBack, asked: Path) -> None:
    server.says(BUSY, DOWN, HUNG_UP, completion(*SIX))
    assert len(client_of(server.url, asked).detect(PICTURE).objects) == 1
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("reply", "says"),
    [(BUSY, "busy, still so after 4 tries.*queue is full"), (HUNG_UP, "the connection broke")],
)
def test_but_not_for_ever(server: PlayedBack, asked: Path, reply: Reply, says: str) -> None:
    server.says(reply)
    with pytest.raises(CoordExpError, match=says):
        client_of(server.url, asked).detect(PICTURE)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"error": {"message": "top_logprobs: at most 20"}}', "400 top_logprobs: at most 20"),
        (b'{"message": "no such model", "code": 404}', "400 no such model"),
        (b'{"error": "model is loading"}', "400 model is loading"),
        (b"Bad Request", "400 Bad Request"),
        (b"[1]", r"400 \[1\]"),
        (b"", "400$"),
        (b"\xff\xfe", "400"),
    ],
)
def test_a_refusal_is_said_in_the_servers_words(
    server: PlayedBack, asked: Path, content: bytes, says: str
) -> None:
    server.says((400, {}, content))
    with pytest.raises(InputError, match=says):
        client_of(server.url, asked).detect(PICTURE)
    assert len(server.asked) == 1


def test_a_failure_is_no_fault_of_the_question(server: PlayedBack, asked: Path) -> None:
    server.says((500, {}, b'{"error": {"message": "engine died"}}'))
    with pytest.raises(CoordExpError, match="500 engine died") as caught:
        client_of(server.url, asked).detect(PICTURE)
    assert not isinstance(caught.value, InputError)


def test_nobody_is_followed_elsewhere(server: PlayedBack, asked: Path) -> None:
    server.says((302, {"Location": "/v1/models"}, b""))
    with pytest.raises(CoordExpError, match="302"):
        client_of(server.url, asked).detect(PICTURE)


def test_a_key_goes_with_each_question_where_there_is_one(server: PlayedBack, asked: Path) -> None:
    server.says(completion(*SIX))
    client_of(server.url, asked).detect(PICTURE)
    Client(server.url, asked, api_key="secret").detect(PICTURE)
    assert server.keys == [None, "Bearer secret"]


def test_where_nobody_listens_the_way_to_a_server_is_said(asked: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(CoordExpError, match=r"no server answers there.*coordexp serve"):
        client_of(f"http://127.0.0.1:{port}", asked).detect(PICTURE)


def test_a_server_that_is_silent_is_left(asked: Path) -> None:
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as silent:  # its backlog takes the connection, and nobody reads
        patience = Patience(connect_s=1, answer_s=0.1, retries=0, first_wait_s=0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CoordExpError, match=r"no answer within 0\.1 s"):
            client_of(url, asked, patience).detect(PICTURE)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a", "http://", "", "http:///v1"])
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url: str, asked: Path) -> None:
    with pytest.raises(InputError, match="expected a URL such as"):
        client_of(url, asked)


def test_waits_double_and_end() -> None:
    patience = Patience(first_wait_s=1.0)
    waits = [patience.wait_s(tries, None) for tries in range(1, 20)]
    assert all(2 ** (n - 1) / 2 <= wait <= 2 ** (n - 1) for n, wait in enumerate(waits[:5], 1))
    assert max(waits) <= 30.0
    assert patience.wait_s(1, "7") == 7.0
    assert patience.wait_s(1, "9999") == 30.0
    assert patience.wait_s(1, "Fri, 31 Dec 1999 23:59:59 GMT") <= 1.0
