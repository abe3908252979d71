"""The page; what needs gradio runs where it is installed, which no environment of ours asks for."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import coordexp
from coordexp.errors import InputError
from coordexp.inference.run.ask import AskOptions, build_ask
from coordexp.inference.run.predictor import load_predictor
from coordexp.serving.demo import QUIET, found_objects, import_gradio, launch_options
from tests.viewing.chromium import QUIET as BARE

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="gradio is not installed"
)


def test_it_shows_what_predict_finds(served_model: Path) -> None:
    predictor = load_predictor(served_model)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=2048)
    found = found_objects(predictor, build_ask(predictor, asking), picture)
    own = coordexp.predict(predictor, picture)
    assert [item.desc for item in found] == own.data["class_name"].tolist()
    assert [item.score for item in found] == own.confidence.tolist()


def test_without_gradio_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"gradio is not installed.*pip install '\.\[demo\]'"):
        import_gradio()


def test_nobody_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.setenv(name, "True")
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace())  # type: ignore[arg-type]
    import_gradio()
    assert {name: os.environ[name] for name in QUIET} == QUIET
    fake = SimpleNamespace(themes=SimpleNamespace(Default=lambda **fonts: fonts))
    options = launch_options("127.0.0.1", 1, fake)
    assert (options["server_name"], options["share"], options["mcp_server"]) == (
        "127.0.0.1",
        False,
        False,
    )
    assert options["theme"] == {
        "font": ["system-ui", "sans-serif"],
        "font_mono": ["ui-monospace", "monospace"],
    }


@needs_gradio
@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_sees_the_page_and_it_ends_in_peace(served_model: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    process = subprocess.Popen(
        [sys.executable, "-m", "coordexp", "demo", str(served_model), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        flags = [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
        command = [chromium, *BARE, *flags, "--enable-logging=stderr", "--v=0", "--dump-dom"]
        seen = subprocess.run(
            [*command, found.group()], capture_output=True, text=True, timeout=120, check=True
        )
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said.split()) == (0, ["stopped"])
    for words in ("digits", "Find every digit.", "Least score", "Classes (none: all)"):
        assert words in seen.stdout
    assert "CONSOLE" not in seen.stderr
    assert not list(tmp_path.glob("coordexp-demo-*"))
