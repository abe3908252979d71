"""From a file of records or predictions to the files of another tool."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.export.coco import coco_document
from coordexp.data.export.fiftyone import fiftyone_labels
from coordexp.data.export.labelled import LabelledPicture, is_predictions, labelled_pictures
from coordexp.data.export.labelstudio import KINDS, labelling_interface, labelstudio_tasks
from coordexp.data.export.yolo import write_yolo
from coordexp.data.files.category_ids import load_category_ids
from coordexp.errors import CoordExpError, InputError
from coordexp.files import check_new_file, publish, unfinished_path, write_text

Tool = Literal["coco", "yolo", "labelstudio", "fiftyone"]
TOOLS: tuple[Tool, ...] = get_args(Tool)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written.

    Args:
        pictures: How many.
        objects: How many.
        left_out: Objects of each geometry that the format has no place for.
        predicted: Whether the objects are a model's.
    """

    pictures: int
    objects: int
    left_out: Counter[str]
    predicted: bool


def export_file(
    src: Path, out: Path, tool: Tool, alphabet: CoordAlphabet, *, url: str, overwrite: bool
) -> ExportReport:
    """Write records, or predictions, for another tool, whole or not at all.

    Args:
        src: JSONL of records, or of predictions.
        out: A file; of YOLO a folder.
        tool: Whose format.
        alphabet: Of the records' coord tokens.
        url: Of Label Studio: what goes before the path of each picture.
        overwrite: Whether the file may be there already.

    Raises:
        InputError: If a file cannot be read, or is there already; YOLO's folder always may not.
        RecordError: If a line is neither a record nor a prediction.
        CoordExpError: If something cannot be written.
    """
    if tool == "yolo" and out.exists():
        raise InputError(f"{out}: exists already; give a folder that does not")
    if tool != "yolo":
        check_new_file(out, overwrite=overwrite)
    predicted = is_predictions(src)
    pictures = list(labelled_pictures(src, alphabet))
    numbers = _class_numbers(src, pictures, first=0 if tool == "yolo" else 1)
    try:
        _write(tool, pictures, numbers, out, url=url, predicted=predicted)
    except OSError as error:
        raise CoordExpError(f"{out}: cannot be written: {error}") from None
    kinds = Counter[str](item.kind for picture in pictures for item in picture.objects)
    left_out = Counter({kind: count for kind, count in kinds.items() if kind not in KINDS})
    objects = kinds.total() - left_out.total()
    return ExportReport(len(pictures), objects, left_out, predicted)


def _class_numbers(src: Path, pictures: Sequence[LabelledPicture], *, first: int) -> dict[str, int]:
    """Return the numbers of all classes: those beside the records, then by name.

    YOLO's count from 0 without a gap, and so keep their order alone.
    """
    known = load_category_ids(src)
    found = {item.desc for picture in pictures for item in picture.objects}
    new = sorted(found - set(known))
    if first == 0:
        ordered = [*sorted(known, key=known.__getitem__), *new]
        return {name: number for number, name in enumerate(ordered)}
    start = max(known.values(), default=0) + 1
    return {**known, **{name: number for number, name in enumerate(new, start=start)}}


def _write(
    tool: Tool,
    pictures: Sequence[LabelledPicture],
    numbers: dict[str, int],
    out: Path,
    *,
    url: str,
    predicted: bool,
) -> None:
    if tool == "yolo":
        partial = unfinished_path(out)
        shutil.rmtree(partial, ignore_errors=True)  # of an export that was killed
        try:
            write_yolo(pictures, numbers, partial)
            publish(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    elif tool == "coco":
        _write_json(out, coco_document(pictures, numbers))
    elif tool == "labelstudio":
        _write_json(out, labelstudio_tasks(pictures, url=url, predicted=predicted))
        write_text(out.with_suffix(".xml"), labelling_interface(numbers))
    else:
        _write_json(out, fiftyone_labels(pictures, numbers))


def _write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
