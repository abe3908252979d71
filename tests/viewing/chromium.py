"""Headless Chromium, for tests that see a page as a browser does."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browse(page: Path, profile: Path, *flags: str) -> str:
    """Open a page and return what Chromium prints."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    command = [chromium, *QUIET, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout + done.stderr


def check_page(page: Path, folder: Path) -> None:
    """Check that a page loads nothing, logs nothing and shows something, on a desk and a phone."""
    assert external_urls(page.read_text(encoding="utf-8")) == []
    dom = browse(page, folder / "dom", "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert "CONSOLE" not in dom
    assert "</main>" in dom
    for width in (1280, 390):
        shot = folder / f"{width}.png"
        browse(page, folder / str(width), f"--window-size={width},1200", f"--screenshot={shot}")
        with Image.open(shot) as picture:
            assert picture.width == width
            colours = picture.convert("RGB").getcolors(2**24)
        assert colours is not None
        assert len(colours) > 100


def result_of(page: Path, folder: Path, script: str) -> object:
    """Return what a function of JavaScript returns on the open page; it must log nothing.

    Args:
        page: Stays as it is; a copy of it runs the script.
        folder: For the copy and the browser's files.
        script: The body of a function that may click and look around.
    """
    copy = folder / "driven.html"
    driver = (
        "<script>addEventListener('load', () => { const result = (() => {"
        f"{script}"
        "})(); document.body.dataset.result = JSON.stringify(result); });</script></body>"
    )
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", driver), encoding="utf-8")
    dom = browse(copy, folder / "driven", "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert "CONSOLE" not in dom
    (result,) = re.findall(r'data-result="(.*?)"', dom)
    return json.loads(html.unescape(result))


def external_urls(page: str) -> list[str]:
    """Return everything in a page that a browser would fetch from elsewhere."""
    # In the script, src is a property; what it could load, the policy forbids.
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    loads = re.findall(r"""(?:src|href|srcset|poster|action)\s*=\s*["']?([^"'\s>]*)""", page)
    styles = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]*)""", page)
    return [url for url in loads + styles if not url.startswith(("data:", "#"))]
