import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.errors import InputError
from coordexp.evaluation.measure.calibration import (
    FORMAT,
    Calibration,
    CalibrationMethod,
    calibration_to_json,
    expected_calibration_error,
    fit_calibration,
    held_out,
    judged_calibration,
    load_calibration,
    reliability,
)
from coordexp.evaluation.measure.matching import Matches, match
from coordexp.identity import file_digest
from tests.evaluation.conftest import make_matches, make_row

BOX, FAR = (10, 10, 50, 50), (100, 100, 140, 140)
METHODS: tuple[CalibrationMethod, ...] = ("isotonic", "logistic")


@cache
def overconfident(images: int = 3000) -> tuple[Matches, list[str]]:
    """Return predictions with score s that are right with probability s squared."""
    random = np.random.default_rng(0)
    rows = []
    for number, score in enumerate(random.uniform(0.05, 0.999, images).tolist()):
        place = BOX if random.random() < score**2 else FAR
        rows.append(make_row([("cat", BOX)], [("cat", place, score)], image=f"{number}.png"))
    return make_matches(rows), [row["image"] for row in rows]


def fitted(folder: Path, method: CalibrationMethod) -> Calibration:
    source = folder / "p.jsonl"
    source.write_text("{}")
    matches, images = overconfident()
    return fit_calibration(matches, images, method, seed=0, source=source)


def test_error_by_hand() -> None:
    # Bin 0.2 to 0.3: half right instead of a quarter. Bin 0.7 to 0.8: all right, not 0.75.
    scores, right = np.array([0.25, 0.25, 0.75, 0.75]), np.array([False, True, True, True])
    bins = reliability(scores, right)
    assert [(row["from"], row["predictions"], row["right"]) for row in bins] == [
        (0.2, 2, 0.5),
        (0.7, 2, 1.0),
    ]
    assert expected_calibration_error(bins) == 0.25
    assert expected_calibration_error([]) is None


def test_a_score_of_one_is_in_the_last_bin() -> None:
    assert reliability(np.array([1.0]), np.array([True]))[0]["to"] == 1.0


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    assert calibration_to_json(make_matches([make_row([("a", BOX)], [("a", BOX, 7.0)])])) is None


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_mends_scores_that_it_has_not_seen(tmp_path: Path, method: CalibrationMethod) -> None:
    told = fitted(tmp_path, method).provenance
    assert told["held_out_ece_before"] > 0.12
    assert told["held_out_ece_after"] < 0.05
    assert told["fitted_images"] + told["held_out_images"] == 3000


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_scores_stays(tmp_path: Path, method: CalibrationMethod) -> None:
    raw = np.unique(np.random.default_rng(1).uniform(0, 1, 500))
    mapped = fitted(tmp_path, method).apply(raw)
    assert (np.diff(mapped) > 0).all()
    assert mapped.min() >= 0
    assert mapped.max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_map_is_the_map(tmp_path: Path, method: CalibrationMethod) -> None:
    found = fitted(tmp_path, method)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(found.to_json()))
    assert load_calibration(path) == found


def test_figures_of_the_same_file_are_those_of_the_half_not_seen(tmp_path: Path) -> None:
    found = fitted(tmp_path, "isotonic")
    matches, images = overconfident()
    scores = found.apply(matches.instances.predicted.score)
    calibrated = match(matches.instances.with_scores(scores))
    told = judged_calibration(found, calibrated, images, file_digest(tmp_path / "p.jsonl"))
    assert told["images"] == "held-out half"
    assert told["ece"] == pytest.approx(found.provenance["held_out_ece_after"])
    assert judged_calibration(found, calibrated, images, "another")["images"] == "all"


@given(st.permutations([f"{k}.png" for k in range(20)]))
def test_the_split_goes_by_name_not_by_place(images: list[str]) -> None:
    apart = dict(zip(images, held_out(images, seed=3).tolist(), strict=True))
    again = held_out(sorted(images), seed=3).tolist()
    assert [apart[name] for name in sorted(images)] == again
    assert 0 < sum(again) < 20


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "p.jsonl"
    source.touch()
    right = [make_row([("a", BOX)], [("a", BOX, 0.5)], image=f"{k}.png") for k in range(9)]
    for rows, message in (
        (right, r"takes right and wrong ones, and of the \d predictions .* \d are right"),
        ([make_row([("a", BOX)])], "there is no prediction"),
        (right[:1], "no prediction is on the half of the images"),
        ([make_row([("a", BOX)], [("a", BOX, 7.0)])], "scores outside 0 to 1"),
    ):
        images = [row["image"] for row in rows]
        with pytest.raises(InputError, match=message):
            fit_calibration(make_matches(rows), images, "isotonic", seed=0, source=source)


def test_scores_that_fall_with_being_right_have_no_logistic_map(tmp_path: Path) -> None:
    source = tmp_path / "p.jsonl"
    source.touch()
    matches, images = overconfident()
    turned = match(matches.instances.with_scores(1 - matches.instances.predicted.score))
    with pytest.raises(InputError, match="do not rise"):
        fit_calibration(turned, images, "logistic", seed=0, source=source)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        {"format": "another", "method": "isotonic"},
        {"format": FORMAT, "method": "isotonic", "x": [0.5, 0.1], "y": [0, 1], "provenance": {}},
        {"format": FORMAT, "method": "isotonic", "x": [0.1], "y": [0, 1], "provenance": {}},
        {"format": FORMAT, "method": "logistic", "x": [-1, 0], "y": [], "provenance": {}},
    ],
)
def test_files_that_are_no_map_are_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / "c.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=r"c\.json: "):
        load_calibration(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_calibration(tmp_path / "none.json")
