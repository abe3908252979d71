import html
import json
import re
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from coordexp.data.contract.record import Geometry
from coordexp.viewing.answers import (
    NO_MISTAKE,
    Mark,
    ShownAnswer,
    answer_browser,
    thumbnail_uri,
)
from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.draw import PREDICTED_COLOUR
from tests.viewing.chromium import result_of
from tests.viewing.hostile import EVIL, PageReader
from tests.viewing.rendered import rendered, rendered_page

BOX = Geometry("bbox_2d", (4, 5, 20, 25), "px")
POLY = Geometry("poly", (4, 5, 20, 5, 12, 25), "px")
LINE = Geometry("line", (4, 5, 20, 25), "px")
POINT = Geometry("point_2d", (8, 5), "px")


def answer(*marks: Mark, title: str = "a.png", picture: bool = True) -> ShownAnswer:
    return ShownAnswer(
        title=title,
        remark=title,
        picture=thumbnail_uri(Image.new("RGB", (40, 30), "#345678")) if picture else None,
        size=(40, 30),
        marks=marks,
        tokens=[("{", 1.0), (title, 0.1), ("}", 0.97)],
    )


def some() -> list[ShownAnswer]:
    return [
        answer(
            Mark("cat", "cat", BOX, true=True, mistake="miss"),
            Mark("dog", "dog", BOX, true=False, score=0.5, mistake="wrong class", also="cat"),
        ),
        answer(Mark("cat", "cat", BOX, true=True), Mark("cat", "cat", BOX, true=False, score=0.9)),
        answer(Mark("dog", "dog", POLY, true=True, mistake="miss"), title="b.png"),
    ]


def shown(answer: ShownAnswer) -> str:
    return rendered("answers", "answer", answer)


def browser(answers: list[ShownAnswer]) -> str:
    return rendered("answers", "answer_browser", answer_browser(answers))


def write_page(path: Path, answers: list[ShownAnswer]) -> None:
    html = rendered_page("answers", "answer_browser", answer_browser(answers))
    path.write_text(html, encoding="utf-8")


def test_all_text_stays_text() -> None:
    evil = Mark(EVIL, EVIL, BOX, true=False, score=0.5, mistake=EVIL)
    for picture in (True, False):
        reader = PageReader()
        reader.feed(browser([answer(evil, title=EVIL, picture=picture)]))
        assert not {"script", "style", "textarea"} & {tag for tag, _ in reader.elements}
        assert reader.text.count(EVIL) == 8
        for _, values in reader.elements:
            assert not [name for name in values if name.startswith("on")]


def test_mistakes_are_found_under_their_class_and_the_other_one() -> None:
    (found,) = re.findall(r'data-mistakes="(.*?)"', shown(some()[0]))
    assert json.loads(html.unescape(found)) == [
        ["miss", "cat"],
        ["wrong class", "cat"],
        ["wrong class", "dog"],
    ]


def test_the_filters_count_answers() -> None:
    filters = browser(some()).partition("data-switch")[0]
    options = re.findall(r'<option value="(.*?)">(.*?)</option>', filters)
    assert options == [
        ("", "every class (3)"),
        ("cat", "cat (2)"),
        ("dog", "dog (2)"),
        ("", "any (3)"),
        ("miss", "miss (2)"),
        (NO_MISTAKE, f"{NO_MISTAKE} (1)"),
        ("wrong class", "wrong class (1)"),
    ]


def test_each_geometry_has_its_shape_in_pixels_of_the_original() -> None:
    marks = [Mark("a", "a", shape, true=True) for shape in (BOX, POLY, LINE, POINT)]
    found = shown(answer(*marks))
    assert '<svg viewBox="0 0 40 30"' in found
    assert re.findall(r"<(poly\w+) points=\"(.*?)\"", found) == [
        ("polygon", "4 5 20 5 20 25 4 25"),
        ("polygon", "4 5 20 5 12 25"),
        ("polyline", "4 5 20 25"),
        ("polygon", "7.583 5 8 4.583 8.417 5 8 5.417"),  # a third of a letter around it
    ]


def test_odd_tokens_are_coloured_and_certain_ones_are_not() -> None:
    found = shown(answer())
    assert '{<i class="p0" title="0.1">a.png</i><i class="p4" title="0.97">}</i>' in found
    plain = ShownAnswer("t", "", None, (4, 3), (), [("{}", None)])
    assert "<code>{}</code>" in shown(plain)
    assert "coloured" not in shown(plain)


@pytest.mark.browser
@pytest.mark.slow
def test_labels_and_colours_can_be_switched(tmp_path: Path) -> None:
    few = [Mark("cat", "cat", BOX, true=False, score=0.9)]
    write_page(tmp_path / "page.html", [answer(*few), answer(*few * 31)])
    script = """
        const seen = [];
        const choose = (name, value) => {
            const select = document.querySelector(`[data-switch=${name}]`);
            select.value = value;
            select.dispatchEvent(new Event("change"));
            const stages = [...document.querySelectorAll(".stage")];
            const labels = stages.map((s) => getComputedStyle(s.querySelector("text")).display);
            const stroke = getComputedStyle(stages[0].querySelector("g")).stroke;
            seen.push([...labels.map((d) => +(d !== "none")), stroke]);
        };
        for (const value of ["", "on", "off"]) choose("labels", value);
        choose("colours", "class");
        return seen;
    """
    pink, own = (
        f"rgb({', '.join(map(str, ImageColor.getrgb(c)))})"
        for c in (PREDICTED_COLOUR, class_colour("cat"))
    )
    assert result_of(tmp_path / "page.html", tmp_path, script) == [
        [1, 0, pink],
        [1, 1, pink],
        [0, 0, pink],
        [0, 0, own],
    ]


@pytest.mark.browser
@pytest.mark.slow
def test_the_filters_work_together_and_pointing_shows_the_box(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", some())
    script = """
        const seen = [];
        const choose = (name, kind) => {
            for (const [id, value] of [["class-filter", name], ["mistake-filter", kind]]) {
                const select = document.getElementById(id);
                select.value = value;
                select.dispatchEvent(new Event("change"));
            }
            const shown = [...document.querySelectorAll(".sample")].map((s) => +!s.hidden);
            seen.push([shown.join(""), document.querySelector(".filter output").textContent]);
        };
        choose("", ""); choose("dog", ""); choose("dog", "miss"); choose("", "(no mistake)");
        choose("cat", "wrong class"); choose("", "");
        document.querySelector(".marks li[data-k='1']").click();
        seen.push([...document.querySelectorAll(".hot")].map((part) => part.dataset.k).join(""));
        document.querySelector("details").open = true;
        seen.push(document.querySelector(".answer .p0").checkVisibility());
        return seen;
    """
    assert result_of(tmp_path / "page.html", tmp_path, script) == [
        ["111", "3 of 3"],
        ["101", "2 of 3"],
        ["001", "1 of 3"],
        ["010", "1 of 3"],
        ["100", "1 of 3"],
        ["111", "3 of 3"],
        "11",
        True,
    ]
