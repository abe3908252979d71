from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coordexp.evaluation.measure.coco_dataset import coco_dataset
from coordexp.evaluation.measure.instances import Instances
from coordexp.evaluation.measure.matching import (
    IOU_THRESHOLDS,
    Matches,
    match,
    tally_classes,
    tally_images,
)
from tests.evaluation.conftest import make_instances, make_matches, make_random_rows, make_row

BOX = (10, 10, 50, 50)
NEAR = (10, 10, 50, 40)  # IoU 3/4 with BOX


def pycocotools_matches(found: Instances) -> tuple[Any, Any]:
    """Return what pycocotools matches, as `truth_of` and `judged`."""
    ids = np.arange(1, len(found.sizes) + 1)
    pair = []
    with redirect_stdout(StringIO()):
        for items in (found.truth, found.predicted):
            coco = COCO()
            coco.dataset = coco_dataset(found, items, "bbox", ids)
            coco.createIndex()
            pair.append(coco)
        run = COCOeval(*pair, "bbox")
        run.evaluate()
    truth_of = np.full((10, len(found.predicted)), -1)
    judged = np.ones((10, len(found.predicted)), dtype=bool)
    counted = found.truth.counted
    for cell in run.evalImgs:
        if cell is not None and cell["aRng"] == [0, 1e10]:
            columns = np.array(cell["dtIds"], dtype=int) - 1
            matched = cell["dtMatches"].astype(int) - 1
            truth_of[:, columns] = np.where((matched >= 0) & counted[matched], matched, -1)
            judged[:, columns] = ~cell["dtIgnore"].astype(bool)
    return truth_of, judged


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), tied=st.booleans(), crowds=st.booleans())
def test_matches_are_those_of_pycocotools(seed: int, tied: bool, crowds: bool) -> None:
    found = make_instances(make_random_rows(seed, tied=tied, crowds=crowds, classes=2))
    if len(found.truth):
        truth_of, judged = pycocotools_matches(found)
        ours = match(found)
        assert (ours.truth_of == truth_of).all()
        assert (ours.judged == judged).all()


def test_an_ignored_object_excuses_the_surest_prediction_alone_and_a_crowd_all() -> None:
    sure, unsure = ("cat", NEAR, 0.9), ("cat", BOX, 0.1)
    for mark, judged in (("ignore", [False, True]), ("iscrowd", [False, False])):
        row = make_row([("cat", BOX)], [sure, unsure])
        row["gt"][0][mark] = 1
        matches = make_matches([row])
        assert matches.judged[0].tolist() == judged
        assert not matches.correct.any()
        assert tally_images(matches).true.tolist() == [0]


def test_a_real_object_is_found_before_an_ignored_one() -> None:
    row = make_row([("cat", BOX), ("cat", NEAR)], [("cat", BOX, 0.9)])
    row["gt"][0]["ignore"] = 1
    assert make_matches([row]).truth_of[0].tolist() == [1]


def test_iscrowd_decides_where_ignore_stands_beside_it() -> None:
    row = make_row([("cat", BOX)])
    row["gt"][0] |= {"iscrowd": 0, "ignore": 1}
    assert tally_images(make_matches([row])).true.tolist() == [1]


def test_a_class_that_was_not_searched_for_is_not_judged() -> None:
    others = [(name, (100, 0, 150, 50), 0.5) for name in ("cat", "dog", "cow", "yak", "owl")]
    row = make_row([("cat", BOX), ("dog", BOX)], [("dog", BOX, 0.9), *others])
    row["federated"] = {"absent": ["cow", "owl"], "not_exhaustive": ["dog"], "frequency": {}}
    seen = make_row([("yak", BOX), ("cow", BOX)])  # classes of the file; an owl is nowhere
    judged = make_matches([row, seen]).judged[0]
    said = ["dog", "cat", "dog", "cow", "yak", "owl"]
    assert dict(zip([*said[:2], "another dog", *said[3:]], judged.tolist(), strict=True)) == {
        "dog": True,  # it is right
        "cat": True,  # all cats are marked: a mistake
        "another dog": False,  # perhaps nobody has marked it
        "cow": True,  # surely absent
        "yak": False,  # nobody has looked
        "owl": True,  # surely absent, though no class of the truth
    }


def only(matches: Matches) -> tuple[list[int], list[float | None]]:
    """Return what one image found, and its F1, by threshold."""
    total = tally_images(matches).total()
    return total.found[:, 0].tolist(), total.f1()[:, 0].tolist()


def test_thresholds_are_cocos() -> None:
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_found_falls_with_the_threshold() -> None:
    matches = make_matches([make_row([("cat", BOX)], [("cat", NEAR, 0.5)])])
    assert only(matches) == ([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], [1.0] * 6 + [0.0] * 4)
    assert matches.nearest.best_iou.tolist() == [0.75]
    assert (matches.found(0).tolist(), matches.found(9).tolist()) == ([True], [False])


def test_the_surest_prediction_chooses_first() -> None:
    # The sure one takes the left cat, which both overlap most; the other is left without.
    left, right, middle = (0, 0, 40, 40), (100, 0, 140, 40), (0, 0, 40, 36)
    rows = [make_row([("cat", left), ("cat", right)], [("cat", middle, 0.9), ("cat", left, 0.1)])]
    found, f1 = only(make_matches(rows))
    assert (found[0], f1[0]) == (1, 0.5)


def test_a_wrong_class_finds_nothing_but_its_box_is_measured() -> None:
    rows = [make_row([("cat", BOX), ("dog", (100, 100, 120, 120))], [("dog", BOX, 0.9)])]
    matches = make_matches(rows)
    assert not matches.correct.any()
    assert matches.nearest.best_iou.tolist() == [0.0, 0.0]
    assert matches.nearest.best_iou_any_class.tolist() == [1.0, 0.0]


def test_classes_add_up_to_images() -> None:
    matches = make_matches(make_random_rows(5, crowds=True))
    images, classes = tally_images(matches).total(), tally_classes(matches).total()
    assert images.true.tolist() == classes.true.tolist()
    assert images.found.tolist() == classes.found.tolist()
    assert images.predicted.tolist() == classes.predicted.tolist()


def test_nothing_against_nothing_has_no_f1() -> None:
    rows = [make_row(), make_row(pred=[("cat", BOX, 1.0)]), make_row([("cat", BOX)])]
    assert tally_images(make_matches(rows)).f1()[0].tolist() == [
        pytest.approx(np.nan, nan_ok=True),
        0,
        0,
    ]
