import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.client.detect import Client
from coordexp.client.request import Body
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile, write_jsonl
from coordexp.errors import CoordExpError, InputError
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.predictor import Predictor
from tests.inference.plainly import plainly

Said = Callable[[Body], bytes]
OPTIONS = replace(
    plainly(batch_size=4, max_new_tokens=9),
    backend="http",
    url="http://127.0.0.1:1",
)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> Callable[[Said], None]:
    """Put a function in the place of the wire."""

    def play(said: Said) -> None:
        def ask(_self: object, path: str, body: Body | None = None) -> bytes:
            if body is None:
                return json.dumps({"data": [{"id": predictor.path.name}]}).encode()
            assert path == "/v1/chat/completions"
            return said(body)

        monkeypatch.setattr("coordexp.client.transport.Transport.ask", ask)

    return play


def empty(_body: Body) -> bytes:
    message = {"content": "{}"}
    logprobs = {"content": [{"token": "{}", "logprob": -0.1}]}
    choice = {"message": message, "logprobs": logprobs, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_as_many_requests_are_under_way_as_was_said(
    says: Callable[[Said], None], predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    together = threading.Barrier(3, timeout=20)

    def said(body: Body) -> bytes:
        together.wait()
        return empty(body)

    says(said)
    options = replace(OPTIONS, batch_size=3)
    summary = run_predict(predictor.path, scenes, tmp_path / "p.jsonl", options)
    assert summary is not None
    assert summary.lines == len(lines(tmp_path / "p.jsonl")) == 6
    assert [line["image"] for line in lines(tmp_path / "p.jsonl")] == [
        record.image for record in RecordFile(scenes, SPEC_ALPHABET)
    ]


def test_a_run_that_failed_keeps_what_was_answered_and_goes_on(
    says: Callable[[Said], None], predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    asked: list[object] = []

    def fails_at_the_fourth(body: Body) -> bytes:
        asked.append(body["messages"])
        if len(asked) == 4:
            raise CoordExpError("the server went away")
        return empty(body)

    says(fails_at_the_fourth)
    out = tmp_path / "p.jsonl"
    with pytest.raises(CoordExpError, match="went away"):
        run_predict(predictor.path, scenes, out, replace(OPTIONS, batch_size=1))
    assert not out.exists()
    moved = replace(OPTIONS, url="http://127.0.0.1:2", batch_size=2)
    summary = run_predict(predictor.path, scenes, out, moved)
    assert summary is not None
    assert summary.lines == 6
    assert len(asked) == 7  # three were kept


def test_a_bad_picture_does_not_end_it(
    says: Callable[[Said], None], predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in scenes.read_text().splitlines()]
    rows[1]["images"] = ["images/none.png"]
    (scenes.parent / "images" / "broken.png").write_bytes(b"none")
    rows[2]["images"] = ["images/broken.png"]
    data = scenes.parent / "bad.jsonl"
    write_jsonl(data, rows)
    says(empty)
    summary = run_predict(predictor.path, data, tmp_path / "p.jsonl", OPTIONS)
    data.unlink()
    (scenes.parent / "images" / "broken.png").unlink()
    assert summary is not None
    assert summary.lines == 4
    assert ["no file" in each or "cannot be read" in each for each in summary.unread] == [True] * 2


@pytest.mark.parametrize(
    ("change", "says_so"),
    [
        ({"url": None}, "go together"),
        ({"backend": "hf"}, "go together"),
        ({"constrain": False}, "the server's to decide, unless it is vLLM's"),
        ({"ordered": False}, "the server's to decide"),
        ({"restrict_to": ("a",)}, "the server's to decide"),
    ],
)
def test_what_only_the_server_can_do_is_refused(
    change: dict[str, object],
    says_so: str,
    says: Callable[[Said], None],
    predictor: Predictor,
    scenes: Path,
    tmp_path: Path,
) -> None:
    says(empty)
    options = OPTIONS
    for name, value in change.items():
        if name in ("url", "backend"):
            options = replace(options, **{name: value})  # type: ignore[arg-type]
        else:
            asking = replace(options.asking, **{name: value})  # type: ignore[arg-type]
            options = replace(options, asking=asking)
    with pytest.raises(InputError, match=says_so):
        run_predict(predictor.path, scenes, tmp_path / "p.jsonl", options)


def test_vllm_answers_freely_where_it_is_told_to(
    says: Callable[[Said], None],
    predictor: Predictor,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says(empty)
    monkeypatch.setattr(Client, "is_vllm", True)
    freely = replace(OPTIONS, asking=replace(OPTIONS.asking, constrain=False))
    summary = run_predict(predictor.path, scenes, tmp_path / "p.jsonl", freely)
    assert summary is not None
    assert summary.lines == 6


def test_another_model_behind_the_server_is_said(
    says: Callable[[Said], None],
    predictor: Predictor,
    scenes: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says(empty)
    with caplog.at_level(logging.WARNING):
        run_predict(predictor.path, scenes, tmp_path / "p.jsonl", OPTIONS)
    assert not caplog.records
    monkeypatch.setattr(Client, "name", "models/other")
    run_predict(predictor.path, scenes, tmp_path / "q.jsonl", OPTIONS)
    assert "calls its model models/other" in caplog.text


def test_answers_of_a_server_are_not_gone_on_with_by_the_model_itself(
    says: Callable[[Said], None], predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    def never(_body: Body) -> bytes:
        raise CoordExpError("no")

    says(never)
    out = tmp_path / "p.jsonl"
    with pytest.raises(CoordExpError):
        run_predict(predictor.path, scenes, out, OPTIONS)
    with pytest.raises(InputError, match="backend"):
        run_predict(predictor.path, scenes, out, replace(OPTIONS, backend="hf", url=None))
