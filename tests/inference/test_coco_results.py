import json
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.jsonl import write_jsonl
from coordexp.inference.coco_results import write_coco_results


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
    write_coco_results(tmp_path / "p.jsonl", data, out, SPEC_ALPHABET, ["yak", "dog"])
    assert [item["category_id"] for item in json.loads(out.read_text("utf-8"))] == [2, 3]
    write_coco_results(tmp_path / "p.jsonl", data, out, SPEC_ALPHABET)
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
