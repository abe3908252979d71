import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import DictLoader, UndefinedError

from coordexp.viewing import page as page_module
from coordexp.viewing.page import Page, build_environment
from tests.viewing.chromium import external_urls

SRC = Path(__file__).parents[2] / "src" / "coordexp"
TEMPLATES = sorted(SRC.rglob("templates/*"))
OWN = """{% extends "viewing/frame.html.j2" %}
{% from "viewing/elements.html.j2" import section %}
{% block sections %}
{% call section(contents, "One") %}<p>{{ said }}</p>{% endcall %}
{% call section(contents, "") %}<p>two</p>{% endcall %}
{% call section(contents, said) %}<p>three</p>{% endcall %}
{% endblock %}
"""


@pytest.fixture
def _own_template(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a template where the module of the tests would have one."""
    loader = page_module.PackageLoader
    monkeypatch.setattr(
        page_module,
        "PackageLoader",
        lambda name: loader(name) if name == "coordexp.viewing" else DictLoader(TEMPLATES_OF[name]),
    )
    build_environment.cache_clear()
    yield
    build_environment.cache_clear()


TEMPLATES_OF = {
    "mine": {"own.html.j2": OWN},
    "thief": {"own.html.j2": OWN, "viewing/frame.html.j2": "stolen"},
}


@pytest.mark.usefixtures("_own_template")
def test_named_sections_are_linked_from_the_top() -> None:
    html = Page("mine", "own.html.j2", "t", values={"said": "a & b"}).render()
    assert re.findall(r'<a href="(.*?)">(.*?)</a>', html) == [("#s0", "One"), ("#s2", "a &amp; b")]
    assert re.findall(r'<section id="(.*?)">', html) == ["s0", "s1", "s2"]
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["One", "a &amp; b"]


@pytest.mark.usefixtures("_own_template")
def test_a_page_loads_nothing_and_forbids_it() -> None:
    html = Page("mine", "own.html.j2", "t", "u", {"said": "x"}).render()
    assert external_urls(html) == []
    assert "default-src 'none'" in html
    assert html.startswith("<!doctype html>\n")
    assert html.endswith("</html>\n")


@pytest.mark.usefixtures("_own_template")
def test_style_and_script_come_through_as_they_are() -> None:
    html = Page("mine", "own.html.j2", "t", values={"said": "x"}).render()
    for name in ("page.css", "page.js"):
        assert (SRC / "viewing/templates" / name).read_text(encoding="utf-8").rstrip() in html


@pytest.mark.usefixtures("_own_template")
def test_a_value_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(UndefinedError, match="said"):
        Page("mine", "own.html.j2", "t").render()


@pytest.mark.usefixtures("_own_template")
def test_nobody_takes_the_place_of_the_shared_templates() -> None:
    assert "stolen" not in Page("thief", "own.html.j2", "t", values={"said": "x"}).render()


@pytest.mark.usefixtures("_own_template")
def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "page.html"
    Page("mine", "own.html.j2", "t", values={"said": "old"}).write(path)
    with pytest.raises(UnicodeEncodeError):
        Page("mine", "own.html.j2", "t", values={"said": "\ud800"}).write(path)
    assert "old" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_external_urls_are_seen() -> None:
    html = '<img src="https://a/b.png"><link href=x.css><style>@import "y"; a{b:url(z)}</style>'
    assert external_urls(html) == ["https://a/b.png", "x.css", "y", "z"]


def test_every_template_is_shipped() -> None:
    project = tomllib.loads((SRC.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["coordexp"]
    shipped = {path for pattern in patterns for path in SRC.glob(pattern)}
    assert len(TEMPLATES) > 10
    assert not set(TEMPLATES) - shipped


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_trusts_a_value(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|\bautoescape\b|\btojson\b|\bxmlattr\b|\burlize\b", source)


def test_all_html_is_in_templates() -> None:
    """No code writes an element or says that some text is safe."""
    element = re.compile(r"</[a-z][a-z0-9]*>|<(div|span|p|svg|table|tr|td|li|img|script|style)[ >]")
    found = [
        f"{path.relative_to(SRC)}:{number}: {line.strip()}"
        for path in sorted(SRC.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if element.search(line) or "import Markup" in line or "markupsafe" in line
    ]
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "import coordexp",
        "import coordexp.cli.app",
        "from typer.testing import CliRunner; from coordexp.cli.app import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0",
    ],
)
def test_help_does_not_wait_for_templates(script: str) -> None:
    told = f"{script}; import sys; print('jinja2' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
