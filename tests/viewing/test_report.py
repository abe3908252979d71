from pathlib import Path

import pytest
from PIL import Image

from coordexp.viewing.report import (
    Page,
    Shot,
    Tile,
    box_legend,
    cards,
    commands,
    note,
    paragraph,
    picture_grid,
    stat_tiles,
    table,
    write_atomically,
)
from tests.viewing.chromium import check_page, external_urls

EVIL = "<script>alert('x')</script>"


def every_block(text: str) -> Page:
    shot = Shot(Image.new("RGB", (40, 30), "#345678"), caption=text, alt=text)
    page = Page(text, text)
    page.add(text, paragraph(text), note(text, tone="warn"), stat_tiles([Tile(text, text, text)]))
    page.add("", table([text, text], [[text, text]], caption=text), commands([(text, text)]))
    return page.add(
        "Two", box_legend(), cards([picture_grid([[shot, shot]], columns=[text, text])])
    )


def test_all_text_is_escaped_everywhere() -> None:
    html = every_block(EVIL).render()
    assert EVIL not in html
    assert html.count("&lt;script&gt;") >= 16
    assert html.count("<script>") == 1


def test_a_page_loads_nothing() -> None:
    html = every_block("plain").render()
    assert external_urls(html) == []
    assert "default-src 'none'" in html


def test_external_urls_are_seen() -> None:
    html = '<img src="https://a/b.png"><link href=x.css><style>@import "y"; a{b:url(z)}</style>'
    assert external_urls(html) == ["https://a/b.png", "x.css", "y", "z"]


def test_named_sections_are_linked() -> None:
    html = Page("t").add("One", paragraph("a")).add("", paragraph("b")).render()
    assert html.count('<a href="#s0">One</a>') == 1
    assert 'href="#s1"' not in html


def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "page.html"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_renders_without_a_word_on_the_console(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    every_block("Ordinary “text”").write(path)
    check_page(path, tmp_path)
