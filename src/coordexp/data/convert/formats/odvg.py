"""ODVG, the JSONL of Grounding DINO and MMDetection: detection rows, grounding rows, or both mixed.

A detection row lists instances with a box and a category; where it has only a number, the names are
looked up in `label_map.json` or `<name>_label_map.json` beside the file. A grounding row has a
caption, kept as `summary`, and regions, each with a phrase and one box or several.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from coordexp.data.contract.geometry import shown
from coordexp.data.convert.pictures.finding import likeliest_folder
from coordexp.data.convert.reading.class_numbers import check_numbers_start_at_0
from coordexp.data.convert.reading.documents import load_json
from coordexp.data.convert.reading.folders import files_in, is_of_split
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import (
    Dataset,
    Shape,
    SourcePicture,
    UnusableError,
    corners_to_box,
)
from coordexp.data.convert.reading.tally import Tally
from coordexp.data.files.jsonl import read_rows
from coordexp.errors import InputError

Row = Mapping[str, object]


def _recognises(source: Source) -> bool:
    return _is_odvg(source.path)


def _files(folder: Path, split: str | None) -> list[Path]:
    found = []
    for path in sorted(files_in(folder, ".jsonl")):
        with suppress(InputError):  # what is no JSONL is no dataset of ours
            if is_of_split(path, folder, split) and _is_odvg(path):
                found.append(path)
    return found


def _is_odvg(path: Path) -> bool:
    row = next((row for _, row in read_rows(path)), None)
    return isinstance(row, dict) and "filename" in row and bool({"detection", "grounding"} & {*row})


def _read(source: Source, tally: Tally) -> Dataset:
    """Return the pictures of an ODVG file.

    Raises:
        InputError: If its pictures are in no usual place, or a line is no JSON object.
    """
    path = source.path
    folder = source.query.images or _picture_folder(path)
    names = _label_map(path)
    tally.classes.update(names.values())

    used: dict[int, str] = {}

    def pictures() -> Iterator[SourcePicture]:
        for number, row in read_rows(path):
            place = f"{path}:{number}"
            if not isinstance(row, dict):
                raise InputError(f"{place}: expected a JSON object, got {shown(row)}")
            for label in _numbers(row):
                used.setdefault(label, place)
            yield _picture(row, folder, names, place, tally)
        check_numbers_start_at_0(used, {int(name) for name in names if name.isdecimal()})

    return Dataset(root=folder, pictures=pictures())


def _picture(
    row: Row, folder: Path, names: Mapping[str, str], place: str, tally: Tally
) -> SourcePicture:
    name = row.get("filename")
    detection, grounding = _part(row, "detection"), _part(row, "grounding")
    caption = grounding.get("caption")
    shapes = [
        *_shapes(_things(detection, "instances", place), names, tally),
        *_shapes(_things(grounding, "regions", place), names, tally),
    ]
    return SourcePicture(
        names=(name,) if isinstance(name, str) else (),
        folders=(folder,),
        place=place,
        shapes=tuple(shapes),
        width=row.get("width"),
        height=row.get("height"),
        summary=caption if isinstance(caption, str) else None,
    )


def _numbers(row: Row) -> Iterator[int]:
    """Yield the class numbers of a row that have to be looked up."""
    things = _part(row, "detection").get("instances")
    for thing in things if isinstance(things, list) else []:
        if isinstance(thing, dict) and not {"phrase", "category"} & thing.keys():
            label = thing.get("label")
            if type(label) is int:
                yield label


def _part(row: Row, key: str) -> Row:
    part = row.get(key)
    return part if isinstance(part, dict) else {}


def _things(part: Row, key: str, place: str) -> list[tuple[str, object]]:
    things = part.get(key, [])
    if not isinstance(things, list):
        raise InputError(f"{place}: {key}: expected a list, got {shown(things)}")
    return [(f"{place}: {key}[{at}]", thing) for at, thing in enumerate(things)]


def _shapes(
    things: list[tuple[str, object]], names: Mapping[str, str], tally: Tally
) -> Iterator[Shape]:
    for place, thing in things:
        if not isinstance(thing, dict):
            tally.drop_unread_object("an instance that is no JSON object", place)
            continue
        boxes = thing.get("bbox")
        several = isinstance(boxes, list) and bool(boxes) and isinstance(boxes[0], list)
        for box in boxes if several and isinstance(boxes, list) else [boxes]:
            try:
                desc = _desc(thing, names)
                shape = Shape(desc=desc, place=place, box=corners_to_box(box))
            except UnusableError as error:
                tally.drop_unread_object(error.reason, place)
                continue
            tally.classes.add(shape.desc)
            yield shape


def _desc(thing: Row, names: Mapping[str, str]) -> str:
    phrase = thing.get("phrase", thing.get("category"))
    if isinstance(phrase, list):  # several spans of the caption
        phrase = " ".join(map(str, phrase))
    if isinstance(phrase, str):
        return phrase
    name = names.get(str(thing.get("label")))
    if name is None:
        raise UnusableError("a class number without a name")
    return name


def _label_map(path: Path) -> dict[str, str]:
    for file in (path.with_name(f"{path.stem}_label_map.json"), path.with_name("label_map.json")):
        if file.is_file():
            document = load_json(file)
            if not isinstance(document, dict):
                raise InputError(f"{file}: expected number: name, got {shown(document)}")
            return {str(number): str(name) for number, name in document.items()}
    return {}


def _picture_folder(path: Path) -> Path:
    names = []
    for _, row in read_rows(path):
        if isinstance(row, dict) and isinstance(row.get("filename"), str):
            names.append(row["filename"])
        if len(names) == 20:  # noqa: PLR2004 - enough to tell the folders apart
            break
    near = (path.parent, path.parent.parent)
    folders = [*near, *(folder / "images" for folder in near), *(home / path.stem for home in near)]
    found = likeliest_folder(folders, names)
    if found is None:
        raise InputError(
            f"{path}: its pictures are in no usual place (the first one is "
            f"{shown(names[0] if names else None)}); name their folder with --images"
        )
    return found


FORMAT = Format(
    name="odvg",
    title="ODVG",
    suffixes=(".jsonl",),
    recognises=_recognises,
    read=_read,
    files=_files,
    expects="ODVG: filename, and detection or grounding, a line",
)
