"""What is written for another tool is what was there: read back, it is equal."""

import json
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from PIL import Image
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.data.export.export import ExportReport, export_file
from coordexp.data.files.category_ids import save_category_ids
from coordexp.errors import InputError, RecordError
from tests.data.convert.sources import convert

URL = "/data/local-files/?d="
CAT = {"desc": "cat", "bbox_2d": [1.25, 2, 30.5, 40]}
DOG = {"desc": "a 'dog' & co", "poly": [5, 5, 60, 6.5, 20, 44]}
CROWD = {"desc": "cat", "bbox_2d": [0, 0, 64, 48], "iscrowd": 1}
SCORED = [{**CAT, "score": 0.75, "score_parts": {}}, {**DOG, "score": 0.5}]


def write_records(folder: Path) -> Path:
    rows = []
    for name, objects in (("a", [CAT, DOG]), ("b", []), ("c", [CROWD, CAT])):
        picture = folder / "images" / f"{name}.png"
        picture.parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (64, 48), "grey").save(picture)
        image = f"images/{name}.png"
        rows.append({"images": [image], "width": 64, "height": 48, "objects": objects})
    path = folder / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_predictions(folder: Path) -> Path:
    write_records(folder / "data")
    row = {"root": "../data", "image": "images/a.png", "width": 64, "height": 48, "gt": []}
    path = folder / "out" / "predictions.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps({**row, "pred": SCORED, "raw_text": ""}) + "\n", "utf-8")
    return path


def export(src: Path, out: Path, tool: str, *, overwrite: bool = False) -> ExportReport:
    return export_file(src, out, tool, SPEC_ALPHABET, url=URL, overwrite=overwrite)  # type: ignore[arg-type]


def test_coco_reads_back_equal(tmp_path: Path) -> None:
    src = write_records(tmp_path)
    save_category_ids(src, {"cat": 17})
    report = export(src, tmp_path / "coco.json", "coco")
    assert (report.pictures, report.objects, report.predicted) == (3, 4, False)
    document = json.loads((tmp_path / "coco.json").read_text())
    assert document["categories"] == [{"id": 17, "name": "cat"}, {"id": 18, "name": "a 'dog' & co"}]
    areas = [item["area"] for item in document["annotations"]]
    assert areas[:2] == [29.25 * 38, 1061.25]  # of an outline what it covers, not its box
    back = convert(
        tmp_path / "coco.json", tmp_path / "back.jsonl", KeepRules(geometry="prefer-poly")
    )
    assert back.things == [
        [("cat", (1.25, 2, 30.5, 40)), ("a 'dog' & co", (5, 5, 60, 6.5, 20, 44))],
        [],
        [("cat", (0, 0, 64, 48)), ("cat", (1.25, 2, 30.5, 40))],
    ]
    assert [bool(item.marks.iscrowd) for item in back.records[2].objects] == [True, False]


def test_yolo_reads_back_equal_but_for_what_it_cannot_mark(tmp_path: Path) -> None:
    export(write_records(tmp_path / "src"), tmp_path / "yolo", "yolo")
    keep = KeepRules(geometry="prefer-poly")
    back = convert(tmp_path / "yolo", tmp_path / "back.jsonl", keep, split="train")
    assert back.kind == "yolo"
    assert back.things == [
        [("cat", (1.25, 2, 30.5, 40)), ("a 'dog' & co", (5, 5, 60, 6.5, 20, 44))],
        [],
        [("cat", (1.25, 2, 30.5, 40))],
    ]


def test_a_models_boxes_go_to_yolo_with_their_scores(tmp_path: Path) -> None:
    assert export(write_predictions(tmp_path), tmp_path / "yolo", "yolo").predicted
    first, second = (tmp_path / "yolo" / "labels" / "a.txt").read_text().splitlines()
    assert first.split()[0] == "1"
    assert first.split()[-1] == "0.75"
    assert len(second.split()) == 7
    assert (tmp_path / "yolo" / "images" / "a.png").is_file()


def test_label_studio_shows_what_a_model_said(tmp_path: Path) -> None:
    out = tmp_path / "tasks.json"
    export(write_predictions(tmp_path), out, "labelstudio")
    (task,) = json.loads(out.read_text())
    assert task["data"] == {"image": URL + "images/a.png"}
    (said,) = task["predictions"]
    assert said["score"] == 0.625
    box, polygon = said["result"]
    assert (box["type"], box["score"]) == ("rectanglelabels", 0.75)
    value = box["value"]
    x1, y1 = value["x"] * 0.64, value["y"] * 0.48
    corners = (x1, y1, x1 + value["width"] * 0.64, y1 + value["height"] * 0.48)
    assert corners == pytest.approx((1.25, 2, 30.5, 40))
    points = [(x * 0.64, y * 0.48) for x, y in polygon["value"]["points"]]
    assert points == [pytest.approx(pair) for pair in ((5, 5), (60, 6.5), (20, 44))]
    interface = fromstring(out.with_suffix(".xml").read_text())
    names = {control.get("name") for control in interface if control.get("toName") == "image"}
    assert names == {box["from_name"], polygon["from_name"]}
    assert {label.get("value") for label in interface.iter("Label")} == {"cat", "a 'dog' & co"}


def test_records_are_annotations_to_label_studio(tmp_path: Path) -> None:
    export(write_records(tmp_path), tmp_path / "tasks.json", "labelstudio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [len(task["annotations"][0]["result"]) for task in tasks] == [2, 0, 2]


def test_fiftyone_has_shares_and_confidences(tmp_path: Path) -> None:
    export(write_predictions(tmp_path), tmp_path / "labels.json", "fiftyone")
    written = json.loads((tmp_path / "labels.json").read_text())
    assert written["classes"] == ["a 'dog' & co", "cat"]
    cat, dog = written["labels"]["images/a"]
    assert (cat["label"], cat["confidence"]) == ("cat", 0.75)
    x, y, wide, high = cat["bounding_box"]
    assert (x * 64, y * 48, (x + wide) * 64, (y + high) * 48) == pytest.approx((1.25, 2, 30.5, 40))
    assert dog["bounding_box"][2] == pytest.approx(55 / 64)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    src = tmp_path / "all.jsonl"
    leash = {"desc": "leash", "line": [0, 0, 9, 9]}
    row = {"images": ["a.png"], "width": 64, "height": 48, "objects": [leash, CAT]}
    src.write_text(json.dumps(row) + "\n")
    told = CliRunner().invoke(app, ["data", "export", "coco", str(src), str(tmp_path / "o.json")])
    assert told.exit_code == 0
    assert told.stdout.endswith("1 pictures, 1 objects\n")
    assert told.stderr == "warning: 1 of line left out: coco has none\n"
    with pytest.raises(InputError, match="there is no such picture"):
        export(src, tmp_path / "yolo", "yolo")
    assert not (tmp_path / "yolo").exists()
    with pytest.raises(InputError, match=r"o\.json"):
        export(src, tmp_path / "o.json", "coco")
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    src.write_text(2 * (json.dumps(row) + "\n"))
    with pytest.raises(InputError, match="two lines have this picture"):
        export(src, tmp_path / "yolo", "yolo")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"pred": [{"desc": "cat", "bbox_2d": [1, 2, 3, 4]}]},
            r"objects\[0\]: pred: expected desc",
        ),
        ({"pred": [{"desc": "cat", "score": 1.0}]}, "pred: expected desc, score and one geometry"),
        ({"pred": [], "width": "64"}, "expected a prediction: image, width, height and pred"),
        ({"pred": [], "image": "../../b.png"}, "images"),
    ],
)
def test_a_line_that_is_no_prediction_is_named(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    src = tmp_path / "predictions.jsonl"
    row = {"image": "a.png", "width": 64, "height": 48, "pred": []}
    src.write_text(json.dumps(row) + "\n" + json.dumps({**row, **change}) + "\n")
    with pytest.raises(RecordError, match=told) as caught:
        export(src, tmp_path / "o.json", "coco")
    assert caught.value.line == 2
