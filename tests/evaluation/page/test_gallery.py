import re
from html import unescape
from pathlib import Path

import pytest

from coordexp.evaluation.measure.figures import Evaluation, evaluate_instances
from coordexp.evaluation.measure.instances import collect_instances
from coordexp.evaluation.measure.predictions import parse_prediction
from coordexp.evaluation.page import gallery as gallery_module
from coordexp.evaluation.page.gallery import gallery, worst_first
from tests.evaluation.conftest import Row, make_row, write_predictions
from tests.viewing.rendered import rendered

BOX, FAR = (10, 10, 50, 50), (100, 100, 140, 140)


def evaluated(rows: list[Row]) -> Evaluation:
    predictions = [parse_prediction(item) for item in rows]
    instances = collect_instances(predictions, matching="normalized", unknown="bucket")
    return evaluate_instances(predictions, instances, seed=0)


def some_rows() -> list[Row]:
    return [
        make_row([("cat", BOX)], [("Cat", BOX, 0.9)], image="fine.png"),
        make_row([("cat", BOX), ("dog", FAR)], [("dog", BOX, 0.8)], image="bad.png"),
        make_row(image="empty.png"),
        make_row([("cat", BOX)], image="nothing.png"),
    ]


def shown(rows: list[Row], folder: Path) -> str:
    browser = gallery(evaluated(rows), folder).browser
    return rendered("answers", "answer_browser", browser)


def test_the_worst_come_first_and_empty_images_are_fine() -> None:
    assert worst_first(evaluated(some_rows())) == [1, 3, 0, 2]


def test_points_are_right_wrong_missed_and_ranked_like_boxes(tmp_path: Path) -> None:
    rows = [make_row(image=name) for name in ("fine.png", "bad.png")]
    rows[0]["gt"] = [{"desc": "cat", "point_2d": [50, 50]}, {"desc": "dog", "bbox_2d": [*BOX]}]
    rows[0]["pred"] = [
        {"desc": "cat", "point_2d": [51, 50], "score": 0.5},
        {"desc": "dog", "point_2d": [20, 20], "score": 0.5},
    ]
    rows[1]["gt"] = [{"desc": "cat", "point_2d": [50, 50]}]
    rows[1]["pred"] = [{"desc": "cat", "point_2d": [90, 50], "score": 0.5}]
    assert worst_first(evaluated(rows)) == [1, 0]
    bad, fine = shown(rows, tmp_path).split("<article")[1:]
    assert re.findall(r"<em>(.*?)</em>", bad) == ["miss", "point at nothing"]
    assert re.findall(r"<em>(.*?)</em>", fine) == []
    assert "2 of 2 found, 2 predicted" in fine
    assert "0 of 1 found, 1 predicted" in bad


def test_marks_tell_what_became_of_each_object(tmp_path: Path) -> None:
    rows = some_rows()
    write_predictions(tmp_path / "p.jsonl", rows)
    html = shown(rows, tmp_path)
    assert re.findall(r"<h3>(\w+)\.png", html) == ["bad", "nothing", "fine", "empty"]
    first = html.split("<article")[1]
    assert re.findall(r"<b>(\w+)</b> ([\d.]*)(?:<em>(.*?)</em>)?", first) == [
        ("cat", "", "miss"),
        ("dog", "", "miss"),
        ("dog", "0.80", "wrong class"),
    ]
    assert "2 of 2" not in first
    assert 'data-classes="["cat","dog"]"' in unescape(first)


def test_crowds_and_what_lies_on_them_are_no_mistakes(tmp_path: Path) -> None:
    rows = [make_row([("cat", BOX), ("dog", FAR)], [("cat", BOX, 0.9)], image="crowd.png")]
    rows[0]["gt"][0]["iscrowd"] = 1
    rows[0]["gt"][1]["ignore"] = 1
    write_predictions(tmp_path / "p.jsonl", rows)
    html = shown(rows, tmp_path)
    assert re.findall(r"<b>([^<]+)</b> ([\d.]*)(<em>)?", html) == [
        ("cat (crowd)", "", ""),
        ("dog (ignored)", "", ""),
        ("cat (not judged)", "0.90", ""),
    ]


def test_many_answers_are_cut_to_the_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "MOST_ANSWERS", 2)
    rows = some_rows()
    write_predictions(tmp_path / "p.jsonl", rows)
    assert "The 2 worst of 4 answers" in gallery(evaluated(rows), tmp_path).told
    html = shown(rows, tmp_path)
    assert html.count("<article") == 2


def test_what_takes_no_part_is_said_to_be_left_out(tmp_path: Path) -> None:
    rows = [make_row([("cat", (5, 5, 5, 9)), ("cat", BOX)])]
    write_predictions(tmp_path / "p.jsonl", rows)
    assert "<em>left out</em>" in shown(rows, tmp_path)
