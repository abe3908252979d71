import json
from pathlib import Path

from tests.data.convert.sources import coco_document, convert, write_picture


def test_lvis_has_urls_for_names_and_knows_what_is_absent(tmp_path: Path) -> None:
    document = coco_document({"bbox": [1, 2, 3, 4], "category_id": 2})
    document["categories"] = [
        {"id": 1, "name": "alarm_clock", "synset": "alarm_clock.n.01"},
        {"id": 2, "name": "bow_(decorative_ribbons)", "synset": "bow.n.08"},
    ]
    document["images"] = [
        {
            "id": 7,
            "coco_url": "http://images.cocodataset.org/train2017/a.png",
            "width": 64,
            "height": 48,
            "neg_category_ids": [1],
            "not_exhaustive_category_ids": [2, 99],
        }
    ]
    write_picture(tmp_path / "train2017" / "a.png")
    (tmp_path / "lvis_v1_train.json").write_text(json.dumps(document))
    done = convert(tmp_path / "lvis_v1_train.json", tmp_path / "out.jsonl")
    assert done.kind == "lvis"
    assert done.things == [[("bow (decorative ribbons)", (1, 2, 4, 6))]]
    assert done.records[0].image == "train2017/a.png"
    assert done.records[0].metadata == {
        "image_id": 7,
        "absent_classes": ["alarm clock"],
        "not_exhaustive_classes": ["bow (decorative ribbons)"],
    }
