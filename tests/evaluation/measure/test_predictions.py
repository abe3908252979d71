import json
from pathlib import Path

import pytest

from coordexp.data.contract.marks import Marks
from coordexp.errors import InputError, RecordError
from coordexp.evaluation.measure.predictions import parse_prediction, read_predictions
from tests.evaluation.conftest import make_row, write_predictions


def test_a_line_becomes_checked_values(tmp_path: Path) -> None:
    data = make_row(
        [("cat", (1, 2, 30, 40))], [("Katze 猫", (1, 2, 30, 41.5), 0.25)], status="salvaged"
    )
    data["pred"][0]["score_parts"] = {"coord": 0.5}
    (prediction,) = read_predictions(write_predictions(tmp_path / "p.jsonl", [data]))
    assert prediction.truth[0].geometry.values == (1, 2, 30, 40)
    assert prediction.predicted[0].desc == "Katze 猫"
    assert prediction.predicted[0].score_parts == {"coord": 0.5}
    assert prediction.status == "salvaged"
    assert prediction.record().image == "images/1.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width: expected a positive whole number"),
        ({"image": "../x.png"}, "climbs out"),
        ({"gt": None}, "gt: missing; predictions are scored against"),
        ({"gt": {}}, "gt: expected a list"),
        ({"gt": [{"desc": "a", "bbox_2d": [1, 2, 3, 4], "iscrowd": 2}]}, "iscrowd: expected 0 or"),
        (
            {"gt": [{"desc": "a", "bbox_2d": [1, 2, 3, 4], "iscrowd": "0"}]},
            "iscrowd: expected 0 or",
        ),
        ({"gt": [{"desc": "a", "bbox_2d": [1, 2, 3, 4], "ignore": None}]}, "ignore: expected 0 or"),
        ({"gt": [{"desc": "a", "bbox_2d": [1, 2, 3, 4], "area": -1}]}, "area: expected square"),
        (
            {"gt": [{"desc": "a", "bbox_2d": [1, 2, 3, 4], "area": None}]},
            "area: expected square pixels, a finite number from 0 on, got None; leave the key out",
        ),
        ({"federated": {"absent": "cat"}}, "federated.absent: expected a list of class names"),
        ({"tokens": [["a", 1.5]]}, "tokens[0]: expected a text and its probability"),
        ({"tokens": "a"}, "tokens: expected a list"),
        ({"parse": {"status": "fine", "dropped": []}}, "ok | salvaged | failed"),
        ({"pred": [{"desc": "a", "bbox_2d": [1, 2, 3, 4]}]}, r"pred[0]: score: expected a finite"),
        ({"pred": [{"desc": "a", "score": 1}]}, "exactly one of bbox_2d, poly, line, point_2d"),
        ({"pred": [{"desc": " ", "bbox_2d": [1, 2, 3, 4], "score": 1}]}, "desc: expected text"),
        ({"pred": [{"desc": "a", "bbox_2d": [9, 2, 3, 4], "score": 1}]}, "x1 <= x2"),
        ({"gt": [{"desc": "a", "bbox_2d": [1, 2, 9, 900]}]}, "outside the image"),
        ({"pred": [{"bbox_2d": [1, 2, 3, 4]}]}, "pred[0]: missing: desc and score"),
        (
            {"pred": [{}]},
            "pred[0]: missing: desc and score and one of bbox_2d, poly, line, point_2d",
        ),
        ({"pred": [{"desc": "a", "bbox_2d": [1, 2, 3, float("inf")], "score": 1}]}, "Infinity"),
        ({"prompt": 3}, "prompt: expected text"),
        ({"gt": [{"desc": "a", "bbox_2d": ["<|coord_1|>"] * 4}]}, "expected pixels"),
        ({"gt": [7]}, "gt[0]: an object: expected a JSON object, got int"),
        ({"raw_text": None}, "raw_text: expected text"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(make_row()) + "\n" + json.dumps(make_row() | change) + "\n")
    with pytest.raises(RecordError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


def test_other_models_need_not_say_how_they_answered() -> None:
    data = make_row([("cat", (1, 2, 30, 40))], [("cat", (1, 2, 30, 40), 0.5)])
    for key in ("root", "raw_text", "parse", "finish_reason"):
        del data[key]
    prediction = parse_prediction(data)
    assert (prediction.root, prediction.raw_text, prediction.dropped) == (".", "", ())
    assert (prediction.status, prediction.finish_reason, prediction.prompt) == (None, None, None)


def test_all_missing_keys_are_named_at_once() -> None:
    data = make_row()
    for key in ("width", "gt", "pred"):
        del data[key]
    with pytest.raises(RecordError, match="missing: width, gt, pred; a line needs image, width"):
        parse_prediction(data)


def test_tokens_crowds_and_areas_are_read(tmp_path: Path) -> None:
    data = make_row([("cat", (1, 2, 30, 40))]) | {"tokens": [["{", 1.0], ["ca", 0.5]]}
    data["gt"][0] |= {"iscrowd": 1, "area": 12.5}
    (prediction,) = read_predictions(write_predictions(tmp_path / "p.jsonl", [data]))
    assert prediction.tokens == (("{", 1.0), ("ca", 0.5))
    assert prediction.truth[0].marks == Marks(iscrowd=True, area=12.5)


def test_a_line_may_say_where_it_was_cut() -> None:
    assert parse_prediction({**make_row(), "min_score": 0.25}).min_score == 0.25
    assert parse_prediction(make_row()).min_score is None
    with pytest.raises(RecordError, match="min_score: expected a finite number, got 'low'"):
        parse_prediction({**make_row(), "min_score": "low"})


def test_a_doubled_key_and_nan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    for line, message in (('{"root": "a", "root": "b"}', "stands twice"), ("[NaN]", "NaN")):
        path.write_text(line + "\n")
        with pytest.raises(RecordError, match=message):
            read_predictions(path)


def test_text_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"root": \n')
    with pytest.raises(RecordError, match=r"p\.jsonl:1: not JSON"):
        read_predictions(path)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_predictions(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match="the file is empty"):
        read_predictions(tmp_path / "empty.jsonl")


def test_a_resized_picture_is_opened_at_the_size_of_its_file() -> None:
    assert parse_prediction(make_row()).record().resized is None
    assert parse_prediction({**make_row(), "resized": [64, 32]}).record().resized == (64, 32)
    with pytest.raises(RecordError, match="resized: expected width and height"):
        parse_prediction({**make_row(), "resized": [64]})
