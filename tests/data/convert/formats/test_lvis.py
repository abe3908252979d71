import json
from pathlib import Path
from typing import Any

from coordexp.data.contract.federated import Federated
from tests.data.convert.sources import coco_document, convert, write_coco, write_picture


def test_lvis_has_urls_for_names_and_knows_what_is_absent(tmp_path: Path) -> None:
    document = coco_document({"bbox": [1, 2, 3, 4], "category_id": 2})
    document["categories"] = [
        {"id": 1, "name": "alarm_clock", "synset": "alarm_clock.n.01"},
        {
            "id": 2,
            "name": "bow_(decorative_ribbons)",
            "synset": "bow.n.08",
            "frequency": "r",
        },
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
    assert done.records[0].metadata == {"image_id": 7}
    assert done.records[0].federated == Federated(
        absent=("alarm clock",),
        not_exhaustive=("bow (decorative ribbons)",),
        frequency={"bow (decorative ribbons)": "r"},
    )


def test_a_file_is_lvis_though_its_first_picture_says_nothing(tmp_path: Path) -> None:
    document = coco_document({"bbox": [1, 2, 3, 4]})
    images: Any = document["images"]
    images.append({**images[0], "id": 8, "neg_category_ids": ["2"]})
    done = convert(write_coco(tmp_path, document), tmp_path / "out.jsonl")
    assert done.kind == "lvis"
    federated = [record.federated for record in done.records]
    assert federated == [Federated((), (), {}), Federated(("dog",), (), {})]
