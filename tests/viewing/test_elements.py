import re

from PIL import Image

from coordexp.viewing.elements import (
    HeatTable,
    Sheet,
    Shot,
    Tile,
    filter_choices,
    inline_picture,
)
from tests.viewing.hostile import EVIL, PageReader
from tests.viewing.rendered import rendered


def every_element(text: str) -> str:
    shot = Shot(inline_picture(Image.new("RGB", (40, 30), "#345678")), caption=text, alt=text)
    return "".join(
        [
            rendered("elements", "note", text),
            rendered("elements", "tiles", [Tile(text, text, text)]),
            rendered("elements", "table", Sheet(text, [text, text], [[text, text]])),
            rendered("elements", "picture_grid", [[shot, shot]], [text, text]),
            rendered("elements", "commands", [(text, text)]),
            rendered("elements", "filter_select", text, text, filter_choices(text, {text: 1})),
            rendered("charts", "heat_table", HeatTable(text, [text], [(text, [1])], text)),
        ]
    )


def test_all_text_stays_text_everywhere() -> None:
    plain, evil = PageReader(), PageReader()
    plain.feed(every_element("words"))
    evil.feed(every_element(EVIL))
    assert evil.text == plain.text.replace("words", EVIL)
    assert evil.elements == [
        (tag, {name: value.replace("words", EVIL) for name, value in attributes.items()})
        for tag, attributes in plain.elements
    ]


def test_a_table_without_a_title_has_no_line_for_it() -> None:
    assert "figcaption" not in rendered("elements", "table", Sheet("", ["a"], [["b"]]))


def test_pictures_of_a_grid_keep_their_size_and_what_they_show() -> None:
    shot = Shot(inline_picture(Image.new("RGB", (40, 30))), caption="c", alt="a")
    grid = rendered("elements", "picture_grid", [[shot, shot], [shot]], ["Before", "After"])
    assert re.findall(r'<div class="row (n\d)">', grid) == ["n2", "n1"]
    assert grid.count('width="40" height="30"') == 3
    assert re.findall(r"<figcaption>(.*?)</figcaption>", grid) == [
        "<b>Before</b> c",
        "<b>After</b> c",
        "<b>Before</b> c",
    ]


def test_the_diagonal_of_a_heat_table_is_right_whatever_the_names_are() -> None:
    chart = HeatTable(
        "t", ["others", "missed", "others"], [("others", [3, 0, 1]), ("missed", [0, 2, 2])]
    )
    cells = re.findall(
        r'<td class="(\w*)" style="--heat:(.*?)">(\d*)</td>',
        rendered("charts", "heat_table", chart),
    )
    assert cells == [
        ("right", "0.75", "3"),
        ("", "0.00", ""),
        ("", "0.25", "1"),
        ("", "0.00", ""),
        ("right", "0.50", "2"),
        ("", "0.50", "2"),
    ]


def test_a_name_that_is_cut_short_can_be_read_in_whole() -> None:
    chart = HeatTable("t", ["a long name"], [("a long name", [1])])
    assert rendered("charts", "heat_table", chart).count('title="a long name"') == 2
