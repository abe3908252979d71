import io

import pytest
from rich.console import Console

from coordexp.inference.run import predict
from coordexp.inference.run.predict import shown_progress


def said(*, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    clock = iter(range(0, 10_000, int(seconds)))
    monkeypatch.setattr(predict.time, "monotonic", lambda: float(next(clock)))
    file = io.StringIO()
    assert list(shown_progress(range(5), total=5, console=Console(file=file))) == [0, 1, 2, 3, 4]
    return file.getvalue().splitlines()


def test_a_file_gets_a_line_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(seconds=1, monkeypatch=monkeypatch) == ["predict: 5 of 5 batches"]
    slow = said(seconds=40, monkeypatch=monkeypatch)
    assert slow[0] == "predict: 1 of 5 batches"
    assert slow[-1] == "predict: 5 of 5 batches"


def test_a_terminal_gets_a_bar() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True)
    assert list(shown_progress("ab", total=2, console=console)) == ["a", "b"]
    assert "100%" in file.getvalue()
