from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from coordexp.errors import InputError
from coordexp.scenes.canvas import Picture
from coordexp.scenes.digits import Split
from coordexp.scenes.tasks import TASKS, pictures_of
from coordexp.scenes.tree_crowns import (
    PHOTOGRAPHS,
    SIDE,
    CrownPainter,
    missing_crowns,
    visible_boxes,
)


def some(split: Split, count: int = 40) -> list[Picture]:
    return list(islice(pictures_of(TASKS["tree-crowns"], split, seed=3), count))


@pytest.mark.usefixtures("crown_package")
def test_a_box_is_where_the_crown_is_seen() -> None:
    """Crowns of the made-up photographs are white: what is bright is what the boxes hold."""
    for picture in some("train"):
        bright = picture.image[..., 0].astype(np.float64) > 150
        boxed = np.zeros_like(bright)
        for thing in picture.things:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= SIDE
            assert 0 <= y1 < y2 <= SIDE
            left, top, right, bottom = (round(edge) for edge in thing.box)
            boxed[top:bottom, left:right] = True
            inside = bright[top + 2 : bottom - 2, left + 2 : right - 2]
            assert inside.size == 0 or inside.mean() > 0.95
        # What is bright and in no box is a crown of which less than a third is seen.
        assert (bright & ~boxed).mean() < 0.12


@pytest.mark.usefixtures("crown_package")
def test_every_tile_has_a_tree_and_nothing_else() -> None:
    for picture in some("heldout"):
        assert {thing.name for thing in picture.things} == {"tree"}


@pytest.mark.usefixtures("crown_package")
def test_no_photograph_is_in_both_splits() -> None:
    assert set(PHOTOGRAPHS["train"]).isdisjoint(PHOTOGRAPHS["heldout"])
    grounds = {
        split: {
            int(np.median(picture.image[..., 0][picture.image[..., 0] < 150]))
            for picture in some(split)
        }
        for split in ("train", "heldout")
    }
    assert grounds["train"].isdisjoint(grounds["heldout"])
    assert all(len(found) == 2 for found in grounds.values())


def test_a_crown_counts_where_a_third_of_it_is_seen() -> None:
    crowns = np.array([[0.0, 0, 30, 30], [0, 0, 29, 30], [90, 90, 120, 120], [200, 200, 210, 210]])
    shown = visible_boxes(crowns, (20, 0, 120, 100))
    # 10 of 30 are seen of the first, 9 of 29 of the second, 10 of 30 rows of the third.
    assert shown.tolist() == [[0, 0, 0.1, 0.3], [0.7, 0.9, 1, 1]]


def test_who_lacks_the_package_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordexp.scenes.tree_crowns._PACKAGE", "no_such_package")
    assert "pip install no_such_package --no-deps" in str(missing_crowns())
    with pytest.raises(InputError, match="not installed"):
        CrownPainter("train")


def test_photographs_that_another_version_lacks_are_named(crown_package: Path) -> None:
    assert missing_crowns() is None
    (crown_package / "SOAP_061.xml").unlink()
    assert "SOAP_061.xml not there" in str(missing_crowns())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<xmin>20</xmin>", "<xmin>-20</xmin>", "expected boxes inside"),
        ("<xmin>20</xmin>", "<xmin>5000</xmin>", "expected boxes inside"),
        ("<xmin>20</xmin>", "<xmin>left</xmin>", "a corner is no number"),
        ("<xmin>20</xmin>", "", "a corner is no number"),
        ("<object>", "<thing>", "SOAP_061.xml"),
    ],
)
def test_crowns_that_cannot_be_are_refused(
    crown_package: Path, old: str, new: str, message: str
) -> None:
    file = crown_package / "SOAP_061.xml"
    file.write_text(file.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(InputError, match=message):
        CrownPainter("train")
