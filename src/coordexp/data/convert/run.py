"""The conversion of a dataset into one JSONL file of records, whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from coordexp.data.convert.detect import Format, open_dataset
from coordexp.data.convert.mapping import Choice, shape_to_object
from coordexp.data.convert.pictures import check_stated_size, find_picture, upright_size
from coordexp.data.convert.report import Report, Tally
from coordexp.data.convert.source import (
    Dataset,
    Query,
    Shape,
    SourcePicture,
    UnusableError,
)
from coordexp.data.geometry import shown
from coordexp.data.jsonl import write_jsonl
from coordexp.data.record import Record, RecordObject, parse_record, record_to_json
from coordexp.errors import CoordExpError, InputError, RecordError
from coordexp.files import whole_directory

_NAMED = 8


class StrictError(CoordExpError):
    """Something would have been clipped or dropped, and `strict` does not accept that."""

    def __init__(self, report: Report) -> None:
        self.report = report
        count = sum(finding.count for finding in report.problems)
        super().__init__(f"{count} problem(s) and --strict: nothing was written")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to convert, and how.

    Args:
        src: An annotation file or a dataset's folder.
        out: The JSONL to write.
        choice: What is kept.
        kind: The format, or None to look.
        split: Which part, where there are several.
        images: The folder of the pictures, or None to look.
        zero_based: Whether VOC's corners count from 0.
        copy_images: Whether pictures are put beside `out`, in `<name>_images/`.
        overwrite: Whether `out` may be there already.
        strict: Whether anything clipped or dropped is an error.
    """

    src: Path
    out: Path
    choice: Choice
    kind: Format | None = None
    split: str | None = None
    images: Path | None = None
    zero_based: bool = False
    copy_images: bool = False
    overwrite: bool = False
    strict: bool = False


def convert_dataset(conversion: Conversion) -> tuple[Format, Report]:
    """Write the records of a dataset and return its format and what became of everything.

    Records come in the order of the source, so the same source gives the same bytes.

    Raises:
        InputError: If the source cannot be read, nothing of it can be kept, or its pictures lie
            where the records cannot name them.
        StrictError: If `strict` and anything was clipped or dropped.
    """
    out = conversion.out
    if out.suffix != ".jsonl":
        raise InputError(f"{out}: records are JSONL; end the name in .jsonl")
    if out.exists() and not conversion.overwrite:
        raise InputError(f"{out}: exists already; choose another name or pass --overwrite")
    if os.path.realpath(out) == os.path.realpath(conversion.src):
        raise InputError(f"{out}: would overwrite the file that it is made from")
    tally = Tally()
    query = Query(
        split=conversion.split,
        images=_images_folder(conversion),
        zero_based=conversion.zero_based,
        outlines=conversion.choice.geometry != "bbox",
    )
    kind, dataset = open_dataset(conversion.src, query, tally, kind=conversion.kind)
    with _places(conversion) as places:
        write_jsonl(out, _rows(dataset, places, conversion, tally))
    return kind, tally.report()


def _images_folder(conversion: Conversion) -> Path | None:
    images = conversion.images
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: there is no such folder of pictures")
    return images


class _InPlace:
    """Records name the pictures where they are."""

    def __init__(self, out: Path) -> None:
        self.home = Path(os.path.realpath(out.parent))

    def name_of(self, picture: Path, root: Path) -> str:
        try:
            return picture.relative_to(self.home).as_posix()
        except ValueError:
            raise InputError(
                f"{picture}: lies outside {self.home}, the folder of the records, which name their "
                f"pictures relative to it. Write to a folder above the pictures ({root.parent} is "
                "one), or pass --copy-images"
            ) from None


class _Copied:
    """Pictures are put into a folder beside the records, as hard links where the disk allows."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def name_of(self, picture: Path, root: Path) -> str:
        inside = picture.relative_to(root)
        target = self.folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                os.link(picture, target)
            except OSError:  # another disk, or one without hard links
                shutil.copyfile(picture, target)
        return f"{self.name}/{inside.as_posix()}"


@contextmanager
def _places(conversion: Conversion) -> Iterator[_InPlace | _Copied]:
    if not conversion.copy_images:
        yield _InPlace(conversion.out)
        return
    folder = conversion.out.with_name(f"{conversion.out.stem}_images")
    with whole_directory(folder, overwrite=conversion.overwrite) as partial:
        yield _Copied(partial, folder.name)


def _rows(
    dataset: Dataset, places: _InPlace | _Copied, conversion: Conversion, tally: Tally
) -> Iterator[dict[str, object]]:
    root = Path(os.path.realpath(dataset.root))
    seen: set[str] = set()
    for picture in dataset.pictures:
        tally.pictures_read += 1
        tally.objects_read += len(picture.shapes)
        try:
            path = find_picture(root, picture)
            size = upright_size(path)
            check_stated_size(picture, size)
            objects = _objects(picture, size, conversion.choice, tally)
        except UnusableError as error:
            _drop(picture, error, tally)
            continue
        if not objects and not conversion.choice.empty:
            tally.add("picture", "dropped", "no objects", picture.place, asked=True)
            continue
        if not objects:
            tally.add("picture", "noted", "no objects: the answer is {}", picture.place)
        name = places.name_of(path, root)
        if name in seen:
            tally.add("picture", "noted", "a picture that comes more than once", picture.place)
        seen.add(name)
        yield _row(picture, name, size, objects)
        tally.pictures_kept += 1
        tally.objects_kept += len(objects)
    _check_classes(conversion.choice, tally)
    if not tally.pictures_kept:
        raise InputError(_nothing_left(conversion.src, tally.report()))
    if conversion.strict and tally.report().problems:
        raise StrictError(tally.report())


def _objects(
    picture: SourcePicture, size: tuple[int, int], choice: Choice, tally: Tally
) -> list[RecordObject]:
    """Return the objects of a picture.

    Raises:
        UnusableError: If the choice leaves the whole picture out.
    """
    if choice.crowd == "drop-picture" and any(shape.crowd for shape in picture.shapes):
        raise UnusableError("a crowd on it", asked=True)
    found = Tally()  # what happens to objects counts only if it is not their picture that goes
    made = [_object(shape, size, choice, found) for shape in picture.shapes]
    objects = [item for item in made if item is not None]
    if choice.most_objects is not None and len(objects) > choice.most_objects:
        raise UnusableError(f"more than {choice.most_objects} objects", asked=True)
    tally.merge(found)
    return objects


def _object(
    shape: Shape, size: tuple[int, int], choice: Choice, tally: Tally
) -> RecordObject | None:
    try:
        return shape_to_object(shape, *size, choice, tally)
    except UnusableError as error:
        tally.add("object", "dropped", error.reason, shape.place, asked=error.asked)
        return None


def _drop(picture: SourcePicture, error: UnusableError, tally: Tally) -> None:
    tally.add("picture", "dropped", error.reason, picture.place, asked=error.asked)
    count = len(picture.shapes)
    if count:
        reason = "on a picture that was dropped"
        tally.add("object", "dropped", reason, picture.place, asked=error.asked, count=count)


def _row(
    picture: SourcePicture, name: str, size: tuple[int, int], objects: list[RecordObject]
) -> dict[str, object]:
    record = Record(
        images=(name,),
        width=size[0],
        height=size[1],
        objects=tuple(objects),
        summary=picture.summary,
        metadata=picture.metadata,
    )
    row = record_to_json(record)
    try:
        parse_record(row)  # the contract has the last word
    except RecordError as error:
        raise InputError(f"{picture.place}: cannot become a record: {error}") from None
    return row


def _check_classes(choice: Choice, tally: Tally) -> None:
    for name in sorted(choice.include | choice.exclude):
        if name not in tally.classes:
            near = get_close_matches(name, tally.classes, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {_listed(tally.classes)}"
            raise InputError(f"no class is called {name!r}; {hint}")


def _listed(classes: set[str]) -> str:
    names = ", ".join(shown(name) for name in sorted(classes)[:_NAMED]) or "none"
    more = len(classes) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names


def _nothing_left(src: Path, report: Report) -> str:
    lines = [
        f"  {finding.count} {finding.subject}(s): {finding.reason}; the first: {finding.first}"
        for finding in report.findings
        if finding.fate == "dropped"
    ]
    hint = "Are the pictures elsewhere? Name their folder with --images." if lines else ""
    return "\n".join([f"{src}: nothing is left to write", *lines, *([hint] if hint else [])])
