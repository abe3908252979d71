import numpy as np
from PIL import Image

from coordexp.data.contract.record import Geometry
from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.draw import (
    MOST_LABELLED,
    PREDICTED_COLOUR,
    TRUE_COLOUR,
    DrawnObject,
    Labels,
    draw_by_class,
    draw_objects,
    fitted,
)


def drawn(kind: str, *values: float, score: float | None = None) -> DrawnObject:
    return DrawnObject("häuser", Geometry(kind, values, "px"), score)


def has_colour(picture: Image.Image, colour: str) -> bool:
    rgb = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return bool((np.array(picture) == rgb).all(axis=2).any())


def test_small_pictures_grow_by_a_whole_factor_and_large_ones_shrink() -> None:
    small, factor = fitted(Image.new("L", (100, 60)))
    assert (small.size, small.mode, factor) == ((600, 360), "RGB", 6.0)
    large, factor = fitted(Image.new("RGB", (1920, 1080)))
    assert (large.size, factor) == ((960, 540), 0.5)
    same, factor = fitted(Image.new("RGB", (700, 500)))
    assert (same.size, factor) == ((700, 500), 1.0)


def test_true_and_predicted_objects_have_their_colours() -> None:
    blank = Image.new("RGB", (100, 100), "#808080")
    box = drawn("bbox_2d", 20, 30, 60, 80)
    assert has_colour(draw_objects(blank, true=[box]), TRUE_COLOUR)
    assert not has_colour(draw_objects(blank, true=[box]), PREDICTED_COLOUR)
    assert has_colour(draw_objects(blank, predicted=[box]), PREDICTED_COLOUR)


def test_an_edge_is_drawn_where_it_is() -> None:
    blank = Image.new("RGB", (640, 640), "#808080")
    picture = np.array(draw_objects(blank, true=[drawn("bbox_2d", 200, 300, 400, 500)]))
    changed = (picture != 128).any(axis=2)
    assert changed[400, 198:203].any()
    assert changed[498:503, 300].any()
    assert not changed[400, 220:380].any()


def test_polygons_and_lines_are_drawn_open_inside() -> None:
    blank = Image.new("RGB", (100, 100), "#808080")
    for item in (drawn("poly", 10, 40, 90, 40, 50, 90), drawn("line", 5, 50, 50, 60, 95, 99)):
        assert has_colour(draw_objects(blank, predicted=[item]), PREDICTED_COLOUR)


def test_a_point_is_a_dot_in_a_ring_that_is_wider_where_it_is_predicted() -> None:
    blank = Image.new("RGB", (640, 640), "#808080")
    point = drawn("point_2d", 300, 200)
    for picture, colour, radius in (
        (draw_objects(blank, true=[point]), TRUE_COLOUR, 9),
        (draw_objects(blank, predicted=[point]), PREDICTED_COLOUR, 15),
    ):
        rgb = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
        coloured = (np.array(picture) == rgb).all(axis=2)
        assert coloured[200, 300]
        # On the way to the ring there is nothing; the label stands beyond it.
        middle = (radius + 3) // 2
        assert not coloured[200, 300 + middle]
        assert coloured[200, 300 + radius - 2 : 300 + radius + 2].any()


def test_points_on_the_border_are_drawn() -> None:
    blank = Image.new("RGB", (64, 64))
    corners = [drawn("point_2d", x, y) for x in (0, 64) for y in (0, 64)]
    assert has_colour(draw_objects(blank, true=corners, predicted=corners), PREDICTED_COLOUR)


def test_the_label_holds_the_score() -> None:
    assert drawn("bbox_2d", 0, 0, 1, 1).label == "häuser"
    assert drawn("bbox_2d", 0, 0, 1, 1, score=0.456).label == "häuser 0.46"


def test_the_given_picture_stays_as_it_is() -> None:
    blank = Image.new("RGB", (640, 640), "#808080")
    draw_objects(blank, true=[drawn("bbox_2d", 0, 0, 640, 640)])
    assert blank.getcolors() == [(640 * 640, (128, 128, 128))]
    assert draw_objects(blank).getcolors() == blank.getcolors()


def test_boxes_at_the_border_and_without_area_are_drawn() -> None:
    blank = Image.new("RGB", (64, 64))
    flat = [drawn("bbox_2d", 0, 0, 64, 64), drawn("bbox_2d", 64, 64, 64, 64)]
    assert has_colour(draw_objects(blank, true=flat, predicted=flat), PREDICTED_COLOUR)


def crowd(count: int, *, desc: str = "tree") -> list[DrawnObject]:
    """Boxes side by side, all of whose lines are in the lower half of a picture of 640 pixels."""
    boxes = [
        (8 * n % 600, 400 + 16 * (n // 75), 8 * n % 600 + 5, 410 + 16 * (n // 75))
        for n in range(count)
    ]
    return [DrawnObject(desc, Geometry("bbox_2d", box, "px")) for box in boxes]


def painted(objects: list[DrawnObject], labels: Labels) -> float:
    """Return how much of a grey picture is painted over."""
    blank = Image.new("RGB", (640, 640), "#808080")
    found = np.array(draw_by_class(blank, objects, labels=labels))
    return float((found != 128).any(axis=2).mean())


def test_a_class_has_its_colour_and_no_other() -> None:
    blank = Image.new("RGB", (100, 100), "#808080")
    picture = draw_by_class(blank, [drawn("bbox_2d", 20, 30, 60, 80)])
    assert has_colour(picture, class_colour("häuser"))
    assert not has_colour(picture, TRUE_COLOUR)


def test_a_crowd_is_seen_not_covered_by_its_labels() -> None:
    few, many = crowd(MOST_LABELLED), crowd(MOST_LABELLED + 1)
    assert painted(few, "auto") == painted(few, "on") > 2 * painted(few, "off")
    assert painted(many, "auto") == painted(many, "off") < painted(many, "on")
    assert painted(many, "off") < painted(few, "off")  # thinner lines, too


def test_true_and_predicted_objects_are_a_crowd_together() -> None:
    blank = Image.new("RGB", (640, 640), "#808080")
    half = crowd(MOST_LABELLED // 2 + 1)
    by_itself = draw_objects(blank, true=half, predicted=half)
    assert np.array_equal(by_itself, draw_objects(blank, true=half, predicted=half, labels="off"))
