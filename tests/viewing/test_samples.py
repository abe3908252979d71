import html
import json
import re

from PIL import Image

from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.elements import Sheet
from coordexp.viewing.samples import NO_OBJECTS, Sample, sample_browser, sample_picture
from tests.viewing.hostile import EVIL, PageReader
from tests.viewing.rendered import rendered


def sample(*classes: str, picture: bool = True, text: str = "text") -> Sample:
    return Sample(
        title=text,
        picture=sample_picture(Image.new("RGB", (40, 30))) if picture else None,
        remark=text,
        answer=text,
        sheet=Sheet("", [text], [[text]]),
        classes=classes,
    )


def shown(*classes: str) -> str:
    return rendered("samples", "sample", sample(*classes))


def browser(*samples: Sample) -> str:
    return rendered("samples", "sample_browser", sample_browser(samples))


def test_all_text_stays_text() -> None:
    found = [sample(EVIL, text=EVIL), sample(EVIL, picture=False, text=EVIL)]
    reader = PageReader()
    reader.feed(browser(*found))
    tags = {tag for tag, _ in reader.elements}
    assert not {"script", "style", "textarea", "b"} & tags
    assert reader.text.count(EVIL) == 12
    classes = [values["data-classes"] for _, values in reader.elements if "data-classes" in values]
    assert [json.loads(found) for found in classes] == [[EVIL], [EVIL]]


def test_the_key_names_the_most_frequent_classes_of_a_picture() -> None:
    many = [f"c{number:02}" for number in range(30) for _ in range(number + 1)]
    found = shown(*many)
    keys = re.findall(r'<span class="key" style="--key:(#\w{6})">(\w+) <small>(\d+)', found)
    assert [(name, int(count)) for _, name, count in keys] == [
        (f"c{number:02}", number + 1) for number in range(29, 5, -1)
    ]
    assert [colour for colour, _, _ in keys] == [class_colour(name) for _, name, _ in keys]
    assert "and 6 more" in found
    assert "more" not in shown("c1", "c2")


def test_each_sample_names_its_classes_once_and_those_without_objects_say_so() -> None:
    for classes, expected in ((("b", "a", "b"), ["a", "b"]), ((), [NO_OBJECTS])):
        (found,) = re.findall(r'data-classes="(.*?)"', shown(*classes))
        assert json.loads(html.unescape(found)) == expected


def test_the_filter_counts_samples_and_offers_the_most_frequent_class_first() -> None:
    page = browser(sample("a", "b"), sample("b", "b"), sample())
    options = re.findall(r'<option value="(.*?)">(.*?)</option>', page)
    assert options == [
        ("", "every class (3)"),
        ("b", "b (2)"),
        (NO_OBJECTS, f"{NO_OBJECTS} (1)"),
        ("a", "a (1)"),
    ]
