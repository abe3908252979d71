from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordexp.cli import serve as serve_module
from coordexp.cli.app import app
from coordexp.serving import vllm_server

RUNNER = CliRunner()
Started = list[tuple[str, str]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Note which server would have been started, and where."""
    seen: Started = []
    monkeypatch.setattr(
        serve_module, "_serve_own", lambda _model, host, *_rest: seen.append(("hf", host))
    )
    monkeypatch.setattr(
        serve_module, "_serve_vllm", lambda _model, host, *_rest: seen.append(("vllm", host))
    )
    return seen


@pytest.mark.parametrize("installed", [True, False])
def test_vllm_serves_where_it_is_installed(
    installed: bool, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "is_vllm_installed", lambda: installed)
    assert RUNNER.invoke(app, ["serve", "m"]).exit_code == 0
    assert RUNNER.invoke(app, ["serve", "m", "--backend", "hf"]).exit_code == 0
    assert RUNNER.invoke(app, ["serve", "m", "--backend", "vllm"]).exit_code == 0
    assert [kind for kind, _ in started] == ["vllm" if installed else "hf", "hf", "vllm"]


def test_it_is_on_loopback_and_warns_beyond(started: Started) -> None:
    quiet = RUNNER.invoke(app, ["serve", "m", "--backend", "hf"])
    assert (quiet.output, started[-1][1]) == ("", "127.0.0.1")
    loud = RUNNER.invoke(app, ["serve", "m", "--backend", "hf", "--host", "0.0.0.0"])
    assert "no password" in loud.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--backend", "vllm", "--queue", "3"], "--backend hf"),
        (["--backend", "vllm", "--batch-size", "3"], "--backend hf"),
        (["--backend", "hf", "--engine", "a=b"], "--backend vllm"),
        (["--port", "99999"], "--port"),
    ],
)
def test_options_of_the_other_server_are_refused(
    options: list[str], says: str, started: Started
) -> None:
    done = RUNNER.invoke(app, ["serve", "m", *options])
    assert done.exit_code == 2
    assert says in done.output
    assert not started


def test_where_there_is_no_model_nothing_is_served(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["serve", str(tmp_path / "none"), "--backend", "vllm"])
    assert done.exit_code == 2
    assert "none" in done.output
