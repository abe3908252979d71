import pytest

from coordexp.data.contract.geometry import Box
from coordexp.data.convert.formats.voc.corners import CornerCount


def count(*boxes: Box) -> CornerCount:
    corners = CornerCount()
    for box in boxes:
        corners.add(box, 60.0, 40.0, "a.xml")
    return corners


INNER = (2.0, 3.0, 9.0, 9.0)


@pytest.mark.parametrize("box", [(0, 3, 9, 9), (3, 0, 9, 9), (0.4, 1, 2, 3), (0, 1, 60, 40)])
def test_a_corner_at_0_decides_for_0(box: Box) -> None:
    corners = count(INNER, box)
    assert (corners.is_zero_based, corners.doubt) == (True, None)


@pytest.mark.parametrize("box", [(1, 3, 60, 9), (3, 1, 9, 40)])
def test_a_box_from_1_to_the_end_decides_for_1(box: Box) -> None:
    corners = count(INNER, box)
    assert (corners.is_zero_based, corners.doubt) == (False, None)


@pytest.mark.parametrize("boxes", [[INNER], [(1, 3, 9, 9)] * 7, [(5, 5, 60, 40)], [(1, 3, 9, 40)]])
def test_nothing_else_decides_and_that_is_said(boxes: list[Box]) -> None:
    corners = count(*boxes)
    assert not corners.is_zero_based
    assert "nothing here shows which" in str(corners.doubt)


def test_one_corner_at_0_among_many_at_1_may_be_a_mistake() -> None:
    corners = count((0, 3, 9, 9), *[(1.0, 3.0, 9.0, 9.0)] * 6)
    assert not corners.is_zero_based
    assert "1 lie at 0, but 6 at 1" in str(corners.doubt)
