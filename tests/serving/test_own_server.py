"""A real server in a process of its own, asked as its users do, and as others might."""

import json
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3
from PIL import Image

import coordexp
from coordexp.answers.prediction_lines import RowOptions
from coordexp.client.picture import picture_url
from coordexp.client.request import ServedAsk
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import PredictOptions
from tests.serving.conftest import running

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytestmark = pytest.mark.slow

MOST = 4
PICTURE = Image.new("RGB", (96, 64), "navy")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def url(served_model: Path) -> Iterator[str]:
    options = ("--port", 0, "--queue", MOST, "--max-new-tokens", 60)
    with running(served_model, "--backend", "hf", *options) as (process, url):
        yield url
        assert process.poll() is None  # whatever was asked, it is still there
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def ask(url: str, body: object, headers: dict[str, str] = JSON) -> tuple[int, dict[str, object]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        reply = pool.request("POST", f"{url}/v1/chat/completions", body=content, headers=headers)
    return reply.status, json.loads(reply.data)


def question(url: str = "", **fields: object) -> dict[str, object]:
    picture = {"type": "image_url", "image_url": {"url": url or picture_url(PICTURE)}}
    return {"messages": [{"role": "user", "content": [picture]}], **fields}


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def address_of(url: str) -> tuple[str | None, int | None]:
    return urlsplit(url).hostname, urlsplit(url).port


def with_length(body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    return b"Content-Length: %d\r\n\r\n" % len(content) + content


def predictions(model: Path, data: Path, out: Path, **how: object) -> list[dict[str, object]]:
    asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=60)
    options = PredictOptions(batch_size=3, asking=asking, rows=RowOptions(), **how)  # type: ignore[arg-type]
    run_predict(model, data, out, options)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_its_predictions_are_those_of_the_model_itself(
    url: str, served_model: Path, scenes: Path, tmp_path: Path
) -> None:
    own = predictions(served_model, scenes, tmp_path / "a.jsonl")
    served = predictions(served_model, scenes, tmp_path / "b.jsonl", backend="http", url=url)
    assert [line["raw_text"] for line in own] == [line["raw_text"] for line in served]
    for one, other in zip(own, served, strict=True):
        assert {**one, "pred": 0, "tokens": 0} == {**other, "pred": 0, "tokens": 0}
        for ours, theirs in zip(one["pred"], other["pred"], strict=True):  # type: ignore[call-overload]
            assert theirs["score"] == pytest.approx(ours["score"], abs=1e-3)
            parts = theirs.pop("score_parts"), ours.pop("score_parts")
            for part in ("coord", "desc", "another"):
                assert parts[0][part] == pytest.approx(parts[1][part], abs=1e-3)
            assert {**theirs, "score": 0} == {**ours, "score": 0}


def test_its_name_and_its_health_can_be_asked(url: str) -> None:
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        models = json.loads(pool.request("GET", url + "/v1/models").data)
        assert [model["id"] for model in models["data"]] == ["digits"]
        assert pool.request("GET", url + "/health").status == 200
        missing = pool.request("GET", url + "/v1/completions")
        assert missing.status == 404
        assert "not offered here" in json.loads(missing.data)["error"]["message"]
        assert pool.request("GET", url + "/v1/chat/completions").status == 405


def test_bodies_that_are_none_are_refused_in_words(url: str) -> None:
    large = Image.new("1", (9000, 9000))
    large.save(file := BytesIO(), "PNG")
    bomb = "data:image/png;base64," + b64encode(file.getvalue()).decode()
    refused: list[tuple[object, int, str]] = [
        (b"{", 400, "JSON"),
        (question("https://example.org/a.png"), 400, "not opened here"),
        (question("data:image/png;base64,AAAA"), 400, "cannot be read as a picture"),
        (question(bomb), 400, "9000x9000 is too large"),
        (question(picture_url(Image.new("RGB", (2000, 2)))), 400, "too thin"),
        (question(temperature=1), 400, "greedy"),
        (question(model="gpt"), 400, "it is called 'digits'"),
        (b" " * (33 * 2**20), 413, "too large"),
    ]
    for body, status, says in refused:
        got, reply = ask(url, body)
        message = reply["error"]["message"]  # type: ignore[index]
        assert (got, says in message) == (status, True), message
    assert ask(url, question(), {"Content-Type": "text/plain"})[0] == 415
    assert ask(url, question())[0] == 200


def test_more_than_fit_are_told_to_come_again_and_do(url: str, served_model: Path) -> None:
    with ThreadPoolExecutor(12) as pool:
        statuses = [status for status, _ in pool.map(lambda _: ask(url, question()), range(24))]
    assert set(statuses) == {200, 429}
    client = coordexp.Client(url, served_model, connections=12, ask=ServedAsk(max_tokens=9))
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(client.detect, [PICTURE] * 24))
    assert len(found) == 24


def test_one_who_is_slow_or_leaves_takes_nothing_from_the_others(url: str) -> None:
    slow = socket.create_connection(address_of(url))
    slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")  # and nothing more
    for _ in range(2 * MOST):  # each leaves once it has asked
        with socket.create_connection(address_of(url)) as gone:
            gone.sendall(HEAD + with_length(question()))
        time.sleep(0.05)
    deadline = time.monotonic() + 60
    while (status := ask(url, question())[0]) == 429 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status == 200
    slow.close()


def test_it_answers_what_is_under_way_and_ends_in_peace(served_model: Path) -> None:
    with running(served_model, "--backend", "hf", "--port", 0) as (process, url):
        assert process.stdout is not None
        assert "curl" in process.stdout.readline()
        sent = []
        for _ in range(3):
            sent.append(socket.create_connection(address_of(url), timeout=60))
            sent[-1].sendall(
                HEAD + b"Connection: close\r\n" + with_length(question(max_tokens=200))
            )
        with urllib3.PoolManager() as pool:  # what came before it is taken by then
            pool.request("GET", url + "/health")
        process.send_signal(signal.SIGINT)
        for connection in sent:
            with connection, connection.makefile("rb") as reply:
                assert reply.readline().split()[1] == b"200"
        said = process.stdout.read()
        assert (process.wait(60), said.split()) == (0, ["stopped"])
