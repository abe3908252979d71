import pytest

from coordexp.data.contract.marks import Marks
from coordexp.data.convert.objects.mapping import KeepRules, shape_to_object
from coordexp.data.convert.reading.shapes import Shape, UnusableError
from coordexp.data.convert.reading.tally import Tally

SQUARE = (10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0)


def mapped(shape: Shape, choice: KeepRules) -> tuple[tuple[float, ...], list[str]]:
    tally = Tally()
    values = shape_to_object(shape, 100, 80, choice, tally).geometry.values
    return values, [f"{item.fate}: {item.reason}" for item in tally.report().findings]


def test_overhang_is_clipped_and_counted() -> None:
    box = Shape("cat", "here", box=(-5, 70, 30, 90))
    assert mapped(box, KeepRules()) == ((0, 70, 30, 80), ["clipped: overhangs its picture"])
    ring = Shape("cat", "here", outlines=((-5, 10, 5, 10, 5, 20, -5, 20),))
    values, changes = mapped(ring, KeepRules(geometry="poly"))
    assert values == (0, 10, 5, 10, 5, 20, 0, 20)
    assert changes == ["clipped: overhangs its picture"]


def test_the_noise_of_floats_is_not_written() -> None:
    values, changes = mapped(
        Shape("cat", "here", box=(0.1 + 0.2, 1.0, 50.12346, 80.0)), KeepRules()
    )
    assert values == (0.3, 1, 50.1235, 80)
    assert [type(value) for value in values] == [float, int, float, int]
    assert changes == []


def test_a_box_thinner_than_what_is_written_has_no_area() -> None:
    with pytest.raises(UnusableError, match="without area"):
        mapped(Shape("cat", "here", box=(1, 1, 1.00001, 5)), KeepRules())


def test_vertices_are_capped() -> None:
    ring = (0.0, 0.0, 9.0, 0.0, 9.0, 9.0, 4.5, 9.1, 0.0, 9.0)
    values, changes = mapped(
        Shape("cat", "here", outlines=(ring,)), KeepRules(geometry="poly", most_vertices=4)
    )
    assert values == (0, 0, 9, 0, 9, 9, 0, 9)
    assert changes == ["changed: an outline of more than 4 vertices: simplified"]


def test_crossing_outlines_are_kept_and_noted() -> None:
    bow = (0.0, 0.0, 10.0, 10.0, 10.0, 0.0, 0.0, 5.0)
    values, changes = mapped(Shape("cat", "here", outlines=(bow,)), KeepRules(geometry="poly"))
    assert len(values) == 8
    assert changes == ["noted: an outline that crosses itself"]


def test_a_flat_outline_falls_back_to_its_box() -> None:
    shape = Shape("cat", "here", box=(1, 1, 5, 5), outlines=((1, 1, 5, 5),))
    assert mapped(shape, KeepRules(geometry="prefer-poly")) == (
        (1, 1, 5, 5),
        ["changed: an outline without area: written as a box"],
    )
    with pytest.raises(UnusableError, match="without area"):
        mapped(shape, KeepRules(geometry="poly"))


@pytest.mark.parametrize(
    ("shape", "choice", "reason"),
    [
        (Shape("cat", "", box=(1, 1, 9, 3)), KeepRules(least_side=3), "smaller than 3 pixels"),
        (
            Shape("cat", "", outlines=(SQUARE,)),
            KeepRules(least_side=10.5),
            "smaller than 10.5 pixels",
        ),
        (Shape("cat", "", box=(1, 1, 9, 3)), KeepRules(include=frozenset({"dog"})), "class not"),
        (Shape("cat", "", box=(1, 1, 9, 3)), KeepRules(exclude=frozenset({"cat"})), "class not"),
        (
            Shape("cat", "", box=(1, 1, 9, 3), marks=Marks(iscrowd=True)),
            KeepRules(crowd="drop"),
            "crowd",
        ),
        (Shape("cat", "", box=(1, 1, 9, 3)), KeepRules(geometry="poly"), "no outline"),
    ],
)
def test_what_the_user_leaves_out_is_no_problem(
    shape: Shape, choice: KeepRules, reason: str
) -> None:
    with pytest.raises(UnusableError, match=reason) as caught:
        mapped(shape, choice)
    assert caught.value.asked


@pytest.mark.parametrize("desc", ["", " \t", "<|coord_3|>", "\ud800"])
def test_class_names_are_text(desc: str) -> None:
    with pytest.raises(UnusableError, match="class name") as caught:
        mapped(Shape(desc, "", box=(1, 1, 9, 3)), KeepRules())
    assert not caught.value.asked
