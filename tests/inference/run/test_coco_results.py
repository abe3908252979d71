import json
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.category_ids import save_category_ids
from coordexp.data.files.jsonl import write_jsonl
from coordexp.inference.run.coco_results import write_coco_results


def test_golden_results(tmp_path: Path) -> None:
    data, out = tmp_path / "d.jsonl", tmp_path / "c.json"
    size = {"width": 100, "height": 100}
    box = {"desc": "dog", "bbox_2d": [1, 2, 3, 5]}
    write_jsonl(
        data,
        [
            {"images": ["a.png"], **size, "objects": [box], "metadata": {"image_id": 77}},
            {"images": ["b.png"], **size, "objects": []},
        ],
    )
    line = {"root": ".", **size, "raw_text": "", "finish_reason": "eos"}
    poly = {"desc": "cat", "poly": [0, 0, 10, 0, 10, 20], "score": 0.25}
    write_jsonl(
        tmp_path / "p.jsonl",
        [
            {**line, "image": "a.png", "gt": [box], "pred": [box | {"score": 0.5}]},
            {**line, "image": "b.png", "gt": [], "pred": [poly]},
        ],
    )
    write_coco_results(tmp_path / "p.jsonl", data, [0, 1], out, SPEC_ALPHABET, ["yak", "dog"])
    assert [item["category_id"] for item in json.loads(out.read_text("utf-8"))] == [2, 3]
    write_coco_results(tmp_path / "p.jsonl", data, [0, 1], out, SPEC_ALPHABET)
    dog, cat = json.loads(out.read_text("utf-8"))
    assert dog == {
        "image_id": 77,
        "category_id": 2,
        "bbox": [1, 2, 2, 3],
        "score": pytest.approx(0.5),
        "file_name": "a.png",
        "category_name": "dog",
    }
    assert (cat["image_id"], cat["category_id"], cat["bbox"]) == (2, 1, [0, 0, 10, 20])
    assert cat["segmentation"] == [[0, 0, 10, 0, 10, 20]]


def test_points_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, out = tmp_path / "d.jsonl", tmp_path / "c.json"
    write_jsonl(data, [{"images": ["a.png"], **SIZE, "objects": []}])
    point = {"desc": "cat", "point_2d": [1, 2], "score": 0.5}
    line = {**LINE, "image": "a.png", "pred": [point, found("dog"), point]}
    write_jsonl(tmp_path / "p.jsonl", [line])
    write_coco_results(tmp_path / "p.jsonl", data, [0], out, SPEC_ALPHABET)
    assert [row["category_name"] for row in json.loads(out.read_text("utf-8"))] == ["dog"]
    assert "2 points are left out: COCO's results are boxes" in caplog.text


SIZE = {"width": 100, "height": 100}
LINE = {"root": ".", **SIZE, "gt": [], "raw_text": "", "finish_reason": "eos"}


def found(desc: str) -> dict[str, object]:
    return {"desc": desc, "bbox_2d": [1, 2, 3, 5], "score": 0.5}


def results(
    tmp_path: Path, records: list[dict[str, object]], lines: list[list[str]], indices: list[int]
) -> list[dict[str, object]]:
    data, out = tmp_path / "d.jsonl", tmp_path / "c.json"
    write_jsonl(data, [{"images": ["a.png"], **SIZE, "objects": [], **row} for row in records])
    rows = [{**LINE, "image": "a.png", "pred": [found(name) for name in names]} for names in lines]
    write_jsonl(tmp_path / "p.jsonl", rows)
    write_coco_results(tmp_path / "p.jsonl", data, indices, out, SPEC_ALPHABET)
    read: list[dict[str, object]] = json.loads(out.read_text("utf-8"))
    return read


def test_one_picture_in_two_records_keeps_two_image_ids(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [{"metadata": {"image_id": k}} for k in (7, 9)]
    written = results(tmp_path, records, [["cat", "cat"], ["dog", "dog"]], [0, 1])
    assert [row["image_id"] for row in written] == [7, 7, 9, 9]
    told = results(tmp_path, [{}, {"prompt": "the left one"}], [["cat"], ["dog"]], [0, 1])
    assert [row["image_id"] for row in told] == [1, 2]


def test_a_record_without_a_line_moves_no_id(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [{"metadata": {"image_id": k}} for k in (7, 8, 9)]
    written = results(tmp_path, records, [["cat"], ["cat"]], [0, 2])
    assert [row["image_id"] for row in written] == [7, 9]


def test_category_ids_are_the_annotation_files_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_category_ids(tmp_path / "d.jsonl", {"dog": 18, "cat": 17, "yak": 90})
    written = results(tmp_path, [{}], [["dog", "cat", "zebra", "cat"]], [0])
    assert [row["category_id"] for row in written] == [18, 17, 91, 17]
    assert "1 descs are no class of d.categories.json ('zebra')" in caplog.text
