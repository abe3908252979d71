"""Real annotation files, which `scripts/fetch_test_data.sh` fetches; see there what they are."""

import csv
import json
from pathlib import Path

import pytest

from coordexp.data.convert.objects.mapping import KeepRules
from tests.data.convert.sources import Converted, convert, voc_object

CACHE = Path(__file__).parents[3] / ".cache" / "test-data"
BOXES = "usr/share/doc/labelme-examples/examples/bbox_detection"
TUTORIAL = "usr/share/doc/labelme-examples/examples/tutorial"
PIECES = "usr/share/doc/labelme-examples/examples/instance_segmentation"


def fetched(name: str) -> Path:
    folder = CACHE / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not there; scripts/fetch_test_data.sh fetches it from its registry")
    return folder


def converted(
    src: Path, out: Path, choice: KeepRules | None = None, **options: object
) -> Converted:
    return convert(src, out, choice, copy_images=True, **options)


def test_labelme_and_voc_say_the_same(tmp_path: Path) -> None:
    examples = fetched("labelme-examples") / BOXES
    labelme = converted(examples / "data_annotated", tmp_path / "a.jsonl", strict=True)
    # labelme writes its own edges, which count from 0, into VOC's XML; its flags are empty tags.
    voc = converted(
        examples / "data_dataset_voc", tmp_path / "b.jsonl", strict=True, zero_based=True
    )
    assert (labelme.kind, voc.kind) == ("labelme", "voc")
    assert voc.things == labelme.things
    assert [len(things) for things in voc.things] == [2, 4, 3]
    assert voc.things[0][0] == ("person", (191, 107.369, 313, 329.369))


def test_labelme_and_coco_say_the_same(tmp_path: Path) -> None:
    examples = fetched("labelme-examples") / PIECES
    prefer = KeepRules(geometry="poly")
    labelme = converted(examples / "data_annotated", tmp_path / "a.jsonl", prefer)
    coco = converted(examples / "data_dataset_coco", tmp_path / "b.jsonl", prefer)
    assert (labelme.kind, coco.kind) == ("labelme", "coco")
    # Its COCO file lists the pictures in another order, and starts categories with _background_, 0.
    by_name = [
        {
            Path(record.image).name: sorted(things)
            for record, things in zip(done.records, done.things, strict=True)
        }
        for done in (labelme, coco)
    ]
    assert by_name[0] == by_name[1]
    assert coco.counts == {
        "clipped: overhangs its picture": 1,
        "changed: in several pieces: the largest is written": 2,
        "noted: an outline that crosses itself": 2,
    }
    assert labelme.counts == {**coco.counts, "dropped: labelled __ignore__": 2}


def test_polygons_of_labelme_lie_within_a_pixel_of_its_coco_boxes(tmp_path: Path) -> None:
    examples = fetched("labelme-examples") / PIECES
    labelme = converted(examples / "data_annotated", tmp_path / "a.jsonl")
    coco = converted(examples / "data_dataset_coco", tmp_path / "b.jsonl")
    both = [sorted(item for things in done.things for item in things) for done in (labelme, coco)]
    assert len(both[0]) == len(both[1]) == 12
    for (name, values), (other, others) in zip(*both, strict=True):
        assert name == other
        assert values == pytest.approx(others, abs=1)  # it takes boxes of masks


def test_deepforest_agrees_with_its_own_table(tmp_path: Path) -> None:
    data = fetched("deepforest") / "deepforest" / "data"
    done = converted(data, tmp_path / "a.jsonl", kind="voc", strict=True, zero_based=True)
    assert sum(map(len, done.things)) == 951
    with (data / "OSBS_029.csv").open() as file:
        rows = [*csv.DictReader(file)]
    table = [tuple(int(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")) for row in rows]
    (osbs,) = (
        things
        for record, things in zip(done.records, done.things, strict=True)
        if Path(record.image).name == "OSBS_029.tif"
    )
    assert osbs == [("Tree", box) for box in table]


def test_deepforest_does_not_show_where_its_corners_count_from_and_that_is_said(
    tmp_path: Path,
) -> None:
    data = fetched("deepforest") / "deepforest" / "data"
    for src in (data, data / "OSBS_029.xml"):
        done = converted(src, tmp_path / "a.jsonl", kind="voc", overwrite=True)
        (warning,) = done.report.warnings
        assert "nothing here shows which" in warning


def test_a_labelme_file_that_names_itself_finds_its_picture(tmp_path: Path) -> None:
    src = fetched("labelme-examples") / TUTORIAL / "apc2016_obj3.json"
    assert json.loads(src.read_text())["imagePath"] == src.name
    done = converted(src, tmp_path / "a.jsonl")
    names = {name for name, _ in done.things[0]}
    assert {"shelf", "mead_index_cards", "kong_air_dog_squeakair_tennis_ball"} <= names
    assert done.records[0].image == "a_images/apc2016_obj3.jpg"


def test_a_labelme_file_alone_gives_the_picture_that_is_in_it(tmp_path: Path) -> None:
    src = fetched("labelme-examples") / TUTORIAL / "apc2016_obj3.json"
    beside = converted(src, tmp_path / "a.jsonl")
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone" / src.name
    alone.write_bytes(src.read_bytes())
    done = converted(alone, tmp_path / "b.jsonl")
    assert done.things == beside.things
    assert (tmp_path / "b_images" / "apc2016_obj3.jpg").is_file()


def test_sahis_wrong_areas_are_noted_and_kept_for_figures(tmp_path: Path) -> None:
    (src,) = fetched("sahi").glob("*/demo/demo_data/terrain2_coco.json")
    done = converted(src, tmp_path / "a.jsonl", strict=True)
    document = json.loads(src.read_text())
    boxes = [row["bbox"] for row in document["annotations"]]
    assert done.things == [[("car", (x, y, x + w, y + h)) for x, y, w, h in boxes]]
    wrong = "noted: an area that disagrees with its shape: kept, for COCO's figures by size use it"
    assert done.counts == {wrong: len(boxes)}
    outlines = converted(src, tmp_path / "b.jsonl", KeepRules(geometry="poly"))
    assert [values for _, values in outlines.things[0]] == [
        (x, y, x + w, y, x + w, y + h, x, y + h) for x, y, w, h in boxes
    ]


def test_imgaugs_quokka_goes_through_voc_and_labelme(tmp_path: Path) -> None:
    photo = fetched("imgaug") / "imgaug" / "quokka.jpg"
    truth = json.loads(photo.with_name("quokka_annotations.json").read_text())
    (tmp_path / photo.name).write_bytes(photo.read_bytes())
    (box,) = truth["bounding_boxes"]
    corners = [box[key] for key in ("x1", "y1", "x2", "y2")]
    name = f"<filename>{photo.name}</filename>"
    (tmp_path / "quokka.xml").write_text(
        f"<annotation>{name}{voc_object('animal', corners)}</annotation>"
    )
    points = [[point["x"], point["y"]] for point in truth["polygons"][0]["keypoints"]]
    shapes = [
        {"label": "animal", "shape_type": "polygon", "points": points},
        *(
            {"label": key["label"], "shape_type": "point", "points": [[key["x"], key["y"]]]}
            for key in truth["keypoints"]
        ),
    ]
    (tmp_path / "quokka.json").write_text(json.dumps({"imagePath": photo.name, "shapes": shapes}))
    voc = convert(tmp_path / "quokka.xml", tmp_path / "a.jsonl", zero_based=True, strict=True)
    assert voc.things == [[("animal", tuple(corners))]]
    labelme = convert(tmp_path / "quokka.json", tmp_path / "b.jsonl", KeepRules(geometry="poly"))
    why = "a shape of type 'point', which has no extent (--points keep writes points)"
    assert labelme.counts[f"dropped: {why}"] == 7
    (animal,) = labelme.things[0]
    distinct = {(x, y) for x, y in points}
    assert {*zip(animal[1][0::2], animal[1][1::2], strict=True)} <= distinct
    assert len(animal[1]) == 2 * len(distinct)
