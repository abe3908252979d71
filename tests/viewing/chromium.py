"""Headless Chromium, for tests that see a page as a browser does."""

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


def external_urls(html: str) -> list[str]:
    """Return everything in a page that a browser would fetch from elsewhere."""
    # In the script, src is a property; what it could load, the policy forbids.
    html = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    loads = re.findall(r"""(?:src|href|srcset|poster|action)\s*=\s*["']?([^"'\s>]*)""", html)
    styles = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]*)""", html)
    return [url for url in loads + styles if not url.startswith(("data:", "#"))]
