from PIL import Image

from coordexp.answers.prediction_lines import Scored
from coordexp.data.contract.geometry import Geometry
from coordexp.serving.shown import drawn_picture, object_rows, shown_objects

BOX = Geometry("bbox_2d", (10.04, 10.0, 50.0, 40.0), "px")
FOUND = [Scored(desc, BOX, score, {}, "") for desc, score in (("a", 0.2), ("b", 0.9), ("a", 0.5))]


def shown(least_score: float, *classes: str) -> list[tuple[str, float]]:
    objects = shown_objects(FOUND, least_score=least_score, classes=classes)
    return [(item.desc, item.score) for item in objects]


def test_the_surest_come_first_and_the_unsure_not_at_all() -> None:
    assert shown(0.0) == [("b", 0.9), ("a", 0.5), ("a", 0.2)]
    assert shown(0.5) == [("b", 0.9), ("a", 0.5)]
    assert shown(1.0) == []


def test_classes_are_a_filter_and_none_is_all() -> None:
    assert shown(0.0, "a") == [("a", 0.5), ("a", 0.2)]
    assert shown(0.0, "c") == []


def test_a_table_has_a_row_for_each() -> None:
    assert object_rows(FOUND[:1]) == [("a", 0.2, "bbox_2d", "10.0, 10.0, 50.0, 40.0")]


def test_objects_are_drawn_on_the_picture() -> None:
    picture = Image.new("RGB", (100, 60), "white")
    bare = drawn_picture(picture, [])
    assert bare.getcolors() == [(bare.width * bare.height, (255, 255, 255))]
    colours = drawn_picture(picture, FOUND).getcolors(2**24)
    assert colours is not None
    assert len(colours) > 2
