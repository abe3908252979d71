import pytest

from coordexp.families.boxes import StockAnswers
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.qwen3_vl.family import QWEN3_VL


def test_shares_do_not_depend_on_the_size_that_was_seen() -> None:
    for seen in ((64, 64), (1280, 960)):
        box = QWEN3_VL.boxes.to_pixels((100, 250, 1000, 500), size=(1280, 960), seen=seen)
        assert box == pytest.approx((128, 240, 1280, 480))


def test_pixels_are_those_of_the_picture_that_was_seen() -> None:
    box = QWEN2_5_VL.boxes.to_pixels((10, 20, 320, 240), size=(1280, 960), seen=(320, 240))
    assert box == pytest.approx((40, 80, 1280, 960))


def test_the_size_that_is_seen_is_the_grid_s() -> None:
    grid = PictureGrid(28, least=28**2, most=100_000, largest_ratio=200)
    answers = StockAnswers(QWEN2_5_VL.boxes, grid)
    # 640 x 480 is looked at as 364 x 252, and 364 x 252 as it is.
    assert answers.to_pixels((364, 252), size=(640, 480), stored=(640, 480)) == (640, 480)
    assert answers.to_pixels((91, 126), size=(1280, 960), stored=(364, 252)) == (320, 480)


def test_classes_stand_in_the_question_as_they_are() -> None:
    for family in (QWEN3_VL, QWEN2_5_VL):
        assert "a {classes}, b." in family.boxes.ask(["a {classes}", "b"])
        assert family.boxes.ask([]) == family.boxes.open_question
