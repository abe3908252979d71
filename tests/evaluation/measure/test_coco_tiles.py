"""In tiles the figures are those of faster-coco-eval, and memory stays small."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp.evaluation.measure import average_precision as coco
from coordexp.evaluation.measure import coco_tiles
from coordexp.evaluation.measure.average_precision import CocoResult, coco_figures
from coordexp.evaluation.measure.coco_dataset import CocoKind
from coordexp.evaluation.measure.instances import Instances
from tests.evaluation.conftest import make_instances, make_random_rows


def both(found: Instances, kind: CocoKind) -> tuple[CocoResult, CocoResult]:
    """Return figures by faster-coco-eval, and in tiles of a few pairs."""
    order = np.random.default_rng(1).permutation(len(found.sizes)).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco, "MAX_DETS", (1, 2, 3))
        official = coco_figures(found, kind, image_order=order)
        patch.setattr(coco_tiles, "MOST_PAIRS", -1)
        patch.setattr(coco_tiles, "PAIRS_AT_ONCE", 3)
        return official, coco_figures(found, kind, image_order=order)


def check_equal(one: CocoResult, other: CocoResult) -> None:
    for a, b in zip(
        (one.overall, *one.per_class.values()),
        (other.overall, *other.per_class.values()),
        strict=True,
    ):
        assert a.to_json() == pytest.approx(b.to_json(), abs=1e-12, nan_ok=True)
    np.testing.assert_allclose(one.precision, other.precision, atol=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), tied=st.booleans(), crowds=st.booleans())
def test_boxes_in_tiles_are_those_of_faster_coco_eval(seed: int, tied: bool, crowds: bool) -> None:
    found = make_instances(make_random_rows(seed, tied=tied, crowds=crowds))
    check_equal(*both(found, "bbox"))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_masks_in_tiles_are_those_of_faster_coco_eval(seed: int) -> None:
    rows = make_random_rows(seed, crowds=True)
    for row in rows:
        for item in [*row["gt"], *row["pred"]]:
            x1, y1, x2, y2 = item.pop("bbox_2d")
            item["poly"] = [x1, y1, x2, y1, (x1 + x2) / 2, y2]
    check_equal(*both(make_instances(rows), "segm"))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_federated_set_in_tiles_is_that_of_faster_coco_eval(seed: int) -> None:
    rows = make_random_rows(seed)
    for place, row in enumerate(rows):
        row["federated"] = {
            "absent": ["class 2"] if place % 2 else [],
            "not_exhaustive": ["class 1"] if place % 3 else [],
            "frequency": {"class 0": "r", "class 1": "c", "class 2": "f"},
        }
    check_equal(*both(make_instances(rows), "bbox"))


PROGRAM = """
import json, resource, sys
from pathlib import Path
from coordexp.evaluation.evaluate import evaluate_predictions
count, path = int(sys.argv[1]), Path(sys.argv[2])
gt = [{"desc": "cat", "bbox_2d": [1 + k / count, 1, 50, 50]} for k in range(count)]
pred = [{**item, "score": 1 - k / count / 2} for k, item in enumerate(gt)]
row = {"image": "a.png", "width": 640, "height": 480, "gt": gt, "pred": pred}
path.write_text(json.dumps(row) + chr(10))
resource.setrlimit(resource.RLIMIT_DATA, (10**9, 10**9))
metrics = evaluate_predictions(path, path.parent / "out")
print(metrics["bbox"]["AP"], metrics["f1"]["F1@0.95"])
"""


@pytest.mark.slow
def test_a_picture_of_six_thousand_boxes_on_each_other_takes_little_memory(tmp_path: Path) -> None:
    """36 million pairs: 860 MB, were they held at once. Each box is nearest to itself."""
    command = [sys.executable, "-c", PROGRAM, "6000", str(tmp_path / "p.jsonl")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1.0", "1.0"]
