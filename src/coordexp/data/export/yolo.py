"""YOLO: a text file of shares for each picture, and `data.yaml`. Lines have no place in it."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import yaml

from coordexp.data.export.labelled import LabelledObject, LabelledPicture
from coordexp.errors import InputError
from coordexp.files import write_text

KINDS = frozenset({"bbox_2d", "poly"})
_DIGITS = 10


def write_yolo(pictures: Iterable[LabelledPicture], numbers: Mapping[str, int], out: Path) -> None:
    """Write `data.yaml`, `labels/` and the pictures themselves, as hard links where that goes.

    A prediction's score stands behind its box, as Ultralytics writes it; crowds and ignored objects
    are left out, which the format cannot mark.

    Args:
        pictures: What is written.
        numbers: Of the classes, from 0.
        out: A folder that does not exist yet.

    Raises:
        InputError: If a picture is missing, or there twice.
    """
    labels: set[Path] = set()
    for picture in pictures:
        place = PurePosixPath(picture.image)
        # `images/` is where labels are looked for from, and need not stand twice in a path.
        inside = PurePosixPath(*place.parts[1:]) if place.parts[0] == "images" else place
        label = (out / "labels" / inside).with_suffix(".txt")
        if label in labels:
            raise InputError(
                f"{picture.image}: two lines have this picture, or one that differs in its suffix "
                "alone; YOLO has one file of labels for it"
            )
        labels.add(label)
        _link(picture.root / picture.image, out / "images" / inside)
        lines = [
            _line(item, picture, numbers[item.desc])
            for item in picture.objects
            if item.kind in KINDS and item.marks.is_taught
        ]
        write_text(label, "".join(f"{line}\n" for line in lines))
    names = {number: name for name, number in numbers.items()}
    description = {"path": ".", "train": "images", "val": "images", "names": names}
    write_text(out / "data.yaml", yaml.safe_dump(description, sort_keys=False, allow_unicode=True))


def _line(item: LabelledObject, picture: LabelledPicture, number: int) -> str:
    size = (picture.width, picture.height)
    if item.kind == "poly":
        shares = [value / size[at % 2] for at, value in enumerate(item.values)]
    else:
        x1, y1, x2, y2 = item.box
        wide, high = size
        shares = [(x1 + x2) / 2 / wide, (y1 + y2) / 2 / high, (x2 - x1) / wide, (y2 - y1) / high]
    if item.score is not None and item.kind == "bbox_2d":
        shares.append(item.score)
    return " ".join([str(number), *(f"{share:.{_DIGITS}g}" for share in shares)])


def _link(src: Path, dst: Path) -> None:
    if not src.is_file():
        raise InputError(f"{src}: there is no such picture")
    dst.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        os.link(os.path.realpath(src), dst)
        return
    shutil.copyfile(src, dst)
