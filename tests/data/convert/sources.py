"""Small datasets of every format, and the shortest way to convert them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record
from coordexp.data.convert.conversion import Conversion, convert_dataset
from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.data.convert.reading.tally import Report
from coordexp.data.files.jsonl import RecordFile

WIDTH, HEIGHT = 64, 48
Thing = tuple[str, Sequence[float]]


@dataclass(frozen=True)
class Converted:
    kind: str
    report: Report
    records: list[Record]

    @property
    def things(self) -> list[list[Thing]]:
        """The desc and values of the objects of each record."""
        return [
            [(item.desc, item.geometry.values) for item in record.objects]
            for record in self.records
        ]

    @property
    def counts(self) -> Mapping[str, int]:
        """The report's findings as `fate: reason`."""
        return {f"{item.fate}: {item.reason}": item.count for item in self.report.findings}


def convert(src: Path, out: Path, choice: KeepRules | None = None, **options: object) -> Converted:
    """Convert and read back; nothing is lost without being counted."""
    conversion = Conversion(src, out, choice or KeepRules(), **options)  # type: ignore[arg-type]
    kind, report = convert_dataset(conversion)
    dropped = {
        subject: sum(
            item.count
            for item in report.findings
            if item.subject == subject and item.fate == "dropped"
        )
        for subject in ("picture", "object")
    }
    assert report.pictures_read == report.pictures_kept + dropped["picture"]
    assert report.objects_read == report.objects_kept + dropped["object"]
    records = [*RecordFile(out, SPEC_ALPHABET)]
    assert len(records) == report.pictures_kept
    assert sum(len(record.objects) for record in records) == report.objects_kept
    return Converted(kind, report, records)


def write_picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)
    return path


def coco_document(*annotations: Mapping[str, object]) -> dict[str, object]:
    """One picture `a.png`, the classes cat (1) and dog (2), and annotations with defaults."""
    defaults = {"image_id": 7, "category_id": 1, "iscrowd": 0}
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": at, **defaults, **row} for at, row in enumerate(annotations)],
    }


def write_coco(folder: Path, document: Mapping[str, object]) -> Path:
    """Write the usual layout: `annotations/instances_train.json` and `train/a.png`."""
    write_picture(folder / "train" / "a.png")
    path = folder / "annotations" / "instances_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def voc_object(name: str, corners: Sequence[object]) -> str:
    keys = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{key}>{corner}</{key}>" for key, corner in zip(keys, corners, strict=True))
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def write_voc(folder: Path, *objects: str, name: str = "a.png") -> Path:
    write_picture(folder / "JPEGImages" / "a.png")
    path = folder / "Annotations" / "a.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    text = f"<annotation><filename>{name}</filename>{size}{''.join(objects)}</annotation>"
    path.write_text(text)
    return path


def write_yolo(folder: Path, labels: str | bytes) -> Path:
    write_picture(folder / "images" / "train" / "a.png")
    path = folder / "labels" / "train" / "a.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(labels.encode() if isinstance(labels, str) else labels)
    (folder / "data.yaml").write_text("train: images/train\nnames: {0: cat, 1: dog}\n")
    return folder / "data.yaml"


def write_odvg(folder: Path, *rows: Mapping[str, object]) -> Path:
    write_picture(folder / "images" / "a.png")
    defaults = {"filename": "a.png", "width": WIDTH, "height": HEIGHT}
    path = folder / "train.odvg.jsonl"
    path.write_text("".join(json.dumps({**defaults, **row}) + "\n" for row in rows))
    return path


def write_labelme(folder: Path, *shapes: Mapping[str, object], image: str = "a.png") -> Path:
    write_picture(folder / "a.png")
    document = {
        "version": "5.1.1",
        "shapes": [*shapes],
        "imagePath": image,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    (folder / "a.json").write_text(json.dumps(document))
    return folder / "a.json"
