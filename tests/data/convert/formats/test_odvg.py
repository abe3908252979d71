from pathlib import Path

import pytest

from coordexp.errors import InputError, RecordError
from tests.data.convert.sources import convert, write_odvg


def test_detection_and_grounding_rows(tmp_path: Path) -> None:
    instance = {"bbox": [1, 2, 3, 4], "label": 0, "category": "cat"}
    regions = [
        {"bbox": [1, 1, 9, 9], "phrase": "a man"},
        {"bbox": [[5, 5, 6, 6], [7, 7, 8, 8]], "phrase": ["two", "dogs"]},
    ]
    src = write_odvg(
        tmp_path,
        {"detection": {"instances": [instance]}},
        {"grounding": {"caption": "a man and two dogs", "regions": regions}},
    )
    done = convert(src, tmp_path / "out.jsonl")
    assert done.kind == "odvg"
    assert done.things == [
        [("cat", (1, 2, 3, 4))],
        [("a man", (1, 1, 9, 9)), ("two dogs", (5, 5, 6, 6)), ("two dogs", (7, 7, 8, 8))],
    ]
    assert done.records[1].summary == "a man and two dogs"
    assert done.records[1].image == "images/a.png"
    assert done.counts == {"noted: a picture that comes more than once": 1}


def test_class_numbers_are_looked_up(tmp_path: Path) -> None:
    things = [{"bbox": [1, 2, 3, 4], "label": number} for number in (0, 5)]
    src = write_odvg(tmp_path, {"detection": {"instances": things}})
    (tmp_path / "label_map.json").write_text('{"0": "cat"}')
    done = convert(src, tmp_path / "out.jsonl")
    assert done.things == [[("cat", (1, 2, 3, 4))]]
    assert done.counts == {"dropped: a class number without a name": 1}


def test_broken_instances_are_dropped(tmp_path: Path) -> None:
    things = [3, {"category": "cat"}, {"category": "cat", "bbox": [4, 4, 1, 1]}]
    good = {"category": "cat", "bbox": [1, 1, 4, 4]}
    src = write_odvg(tmp_path, {"detection": {"instances": [*things, good]}})
    report = convert(src, tmp_path / "out.jsonl").report
    assert (report.objects_read, report.objects_kept) == (4, 1)


def test_class_numbers_from_1_are_refused(tmp_path: Path) -> None:
    things = [{"bbox": [1, 2, 3, 4], "label": number} for number in (1, 2)]
    src = write_odvg(tmp_path, {"detection": {"instances": things}})
    (tmp_path / "label_map.json").write_text('{"0": "cat", "1": "dog"}')
    with pytest.raises(InputError, match=r"jsonl:1: class 2, but the names go from 0 to 1, and 0"):
        convert(src, tmp_path / "out.jsonl")


def test_without_a_label_map_every_object_is_lost_and_that_is_an_error(tmp_path: Path) -> None:
    src = write_odvg(tmp_path, {"detection": {"instances": [{"bbox": [1, 2, 3, 4], "label": 0}]}})
    with pytest.raises(InputError, match=r"every object was dropped\n  1 object.*without a name"):
        convert(src, tmp_path / "out.jsonl")


def test_broken_lines_are_refused_with_their_number(tmp_path: Path) -> None:
    src = write_odvg(tmp_path, {"detection": {"instances": []}})
    good = src.read_text()
    src.write_text(good + '{"filename": "a.png", "detection": {"instances": [{"bbox": [NaN')
    with pytest.raises(RecordError, match=r"train.odvg.jsonl:2: not JSON"):
        convert(src, tmp_path / "out.jsonl")
    src.write_text(good + "[1]\n")
    with pytest.raises(InputError, match=r"train.odvg.jsonl:2: expected a JSON object, got \[1\]"):
        convert(src, tmp_path / "out.jsonl")


def test_records_are_not_converted_again(tmp_path: Path) -> None:
    src = write_odvg(tmp_path, {"detection": {"instances": []}})
    convert(src, tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="these are records already"):
        convert(tmp_path / "out.jsonl", tmp_path / "b.jsonl")
