import pytest

from coordexp.families.boxes import BoxText
from coordexp.families.qwen3_vl.family import QWEN3_VL


def test_shares_do_not_depend_on_the_size_that_was_seen() -> None:
    for seen in ((64, 64), (1280, 960)):
        box = QWEN3_VL.boxes.to_pixels((100, 250, 1000, 500), size=(1280, 960), seen=seen)
        assert box == pytest.approx((128, 240, 1280, 480))


def test_pixels_are_those_of_the_picture_that_was_seen() -> None:
    absolute = BoxText("bbox_2d", "label", steps=None)
    box = absolute.to_pixels((10, 20, 320, 240), size=(1280, 960), seen=(320, 240))
    assert box == pytest.approx((40, 80, 1280, 960))
