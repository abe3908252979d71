import html
import json
import re

from PIL import Image

from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.samples import NO_OBJECTS, Sample, sample_block, sample_browser

EVIL = "<script>alert('x')</script>\"&"


def sample(*classes: str, picture: bool = True) -> Sample:
    return Sample(
        title=EVIL,
        picture=Image.new("RGB", (40, 30)) if picture else None,
        remark=EVIL,
        answer=EVIL,
        head=[EVIL],
        rows=[[EVIL]],
        classes=classes,
    )


def test_all_text_is_escaped() -> None:
    found = [sample(EVIL), sample(EVIL, picture=False)]
    page = sample_browser([sample_block(item) for item in found], [[EVIL], [EVIL]])
    assert "<script" not in page
    assert "&quot;&amp;" in page


def test_the_key_names_the_most_frequent_classes_of_a_picture() -> None:
    many = [f"c{number:02}" for number in range(30) for _ in range(number + 1)]
    found = sample_block(sample(*many))
    keys = re.findall(r'<span class="key" style="--key:(#\w{6})">(\w+) <small>(\d+)', found)
    assert [(name, int(count)) for _, name, count in keys] == [
        (f"c{number:02}", number + 1) for number in range(29, 5, -1)
    ]
    assert [colour for colour, _, _ in keys] == [class_colour(name) for _, name, _ in keys]
    assert "and 6 more" in found
    assert "more" not in sample_block(sample("c1", "c2"))


def test_each_sample_names_its_classes_once_and_those_without_objects_say_so() -> None:
    for classes, expected in ((("b", "a", "b"), ["a", "b"]), ((), [NO_OBJECTS])):
        (found,) = re.findall(r'data-classes="(.*?)"', sample_block(sample(*classes)))
        assert json.loads(html.unescape(found)) == expected


def test_the_filter_counts_samples_and_offers_the_most_frequent_class_first() -> None:
    page = sample_browser([sample_block(sample("a"))] * 3, [["a", "b"], ["b", "b"], []])
    options = re.findall(r'<option value="(.*?)">(.*?)</option>', page)
    assert options == [
        ("", "every class (3)"),
        ("b", "b (2)"),
        (NO_OBJECTS, f"{NO_OBJECTS} (1)"),
        ("a", "a (1)"),
    ]
