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


def overflowing(page: Path, folder: Path) -> list[str]:
    """Return what is wider than a phone on a page, or than the element around it.

    What scrolls in its own place may be. A window of Chromium is never narrower than 500 pixels, a
    frame in it is.

    Args:
        page: The page.
        folder: For the browser's files.
    """
    frame = folder / "frame.html"
    content = json.dumps(page.read_text(encoding="utf-8")).replace("</", "<\\/")
    frame.write_text(
        '<!doctype html><body><iframe style="width: 390px; border: 0"></iframe><script>'
        f"const frame = document.querySelector('iframe'); frame.srcdoc = {content};"
        "frame.onload = () => { document.body.dataset.result = JSON.stringify(("
        f"{_OVERFLOWING})(frame.contentWindow)); }};</script></body>",
        encoding="utf-8",
    )
    dom = browse(frame, folder / "frame", "--dump-dom")
    (result,) = re.findall(r'data-result="(.*?)"', dom)
    return [str(found) for found in json.loads(html.unescape(result))]


_OVERFLOWING = """(phone) => {
    const page = phone.document;
    for (const closed of page.querySelectorAll("details")) closed.open = true;
    const found = [];
    for (const part of page.querySelectorAll("header *, main *")) {
        if (part.closest(".scroll, pre, svg")) continue;
        const cut = phone.getComputedStyle(part).overflow !== "visible";
        const out = part.getBoundingClientRect().right > phone.innerWidth + 1;
        if (out || (!cut && part.clientWidth && part.scrollWidth > part.clientWidth + 1))
            found.push(`${part.tagName} ${part.className}: ${part.textContent.slice(0, 40)}`);
    }
    return found;
}"""


def external_urls(page: str) -> list[str]:
    """Return everything in a page that a browser would fetch from elsewhere."""
    # In the script, src is a property; what it could load, the policy forbids.
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    loads = re.findall(r"""(?:src|href|srcset|poster|action)\s*=\s*["']?([^"'\s>]*)""", page)
    styles = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]*)""", page)
    return [url for url in loads + styles if not url.startswith(("data:", "#"))]
