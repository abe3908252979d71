"""The conversion of a dataset into one JSONL file of records, whole or not at all."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.record import Record, RecordObject, parse_record, record_to_json
from coordexp.data.convert.detect import open_dataset
from coordexp.data.convert.objects.mapping import KeepRules, shape_to_object
from coordexp.data.convert.pictures.embedded import locate_picture, size_of
from coordexp.data.convert.pictures.finding import MISSING, SPELLED, FoundPicture, check_stated_size
from coordexp.data.convert.pictures.lookup import Lookup, fold_case
from coordexp.data.convert.pictures.places import Copied, InPlace, open_places
from coordexp.data.convert.reading.format import Query
from coordexp.data.convert.reading.shapes import (
    Dataset,
    Shape,
    SourcePicture,
    UnusableError,
)
from coordexp.data.convert.reading.tally import Report, Tally
from coordexp.data.files.category_ids import save_category_ids
from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import CoordExpError, InputError, RecordError
from coordexp.files import check_new_file

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
        kind: The format's name, or None to look.
        split: Which part, where there are several.
        images: The folder of the pictures, or None to look.
        zero_based: Whether VOC's corners count from 0; None to decide by what they are.
        copy_images: Whether pictures are put beside `out`, in `<name>_images/`.
        overwrite: Whether `out` may be there already.
        strict: Whether anything clipped or dropped is an error.
    """

    src: Path
    out: Path
    choice: KeepRules
    kind: str | None = None
    split: str | None = None
    images: Path | None = None
    zero_based: bool | None = None
    copy_images: bool = False
    overwrite: bool = False
    strict: bool = False


def convert_dataset(conversion: Conversion) -> tuple[str, Report]:
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
    check_new_file(out, overwrite=conversion.overwrite)
    if os.path.realpath(out) == os.path.realpath(conversion.src):
        raise InputError(f"{out}: would overwrite the file that it is made from")
    tally = Tally()
    query = Query(
        split=conversion.split,
        images=_images_folder(conversion),
        zero_based=conversion.zero_based,
        outlines=conversion.choice.geometry != "bbox",
        points=conversion.choice.points != "drop",
        empty=conversion.choice.empty,
    )
    kind, dataset = open_dataset(conversion.src, query, tally, kind=conversion.kind)
    copy, overwrite = conversion.copy_images, conversion.overwrite
    with open_places(out, copy=copy, overwrite=overwrite) as places:
        write_jsonl(out, _rows(dataset, places, conversion, tally))
    save_category_ids(out, dataset.category_ids)
    return kind, tally.report()


def _images_folder(conversion: Conversion) -> Path | None:
    images = conversion.images
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: there is no such folder of pictures")
    return images


@dataclass(frozen=True, slots=True)
class _Claim:
    """What says that a picture is its own.

    Args:
        place: Where it stands.
        is_spelled: Whether it spells the picture otherwise than its file.
        is_own: Whether it is an annotation file that is called like the picture.
    """

    place: str
    is_spelled: bool
    is_own: bool


def _claim(picture: SourcePicture, name: str, notes: Sequence[str]) -> _Claim:
    stem = picture.stem
    is_own = stem is not None and fold_case(stem) == fold_case(PurePosixPath(name).stem)
    return _Claim(place=picture.place, is_spelled=SPELLED in notes, is_own=is_own)


def _rows(
    dataset: Dataset, places: InPlace | Copied, conversion: Conversion, tally: Tally
) -> Iterator[dict[str, object]]:
    root = Path(os.path.realpath(dataset.root))
    lookup = Lookup(root)
    seen: dict[str, _Claim] = {}
    for picture in dataset.pictures:
        tally.pictures_read += 1
        tally.objects_read += len(picture.shapes)
        try:
            found = locate_picture(lookup, picture, unpack=places.unpacks)
            size = size_of(found)
            check_stated_size(picture, size)
            objects = _objects(picture, size, conversion.choice, tally)
        except UnusableError as error:
            _drop(picture, error, tally)
            continue
        notes = found.notes if isinstance(found, FoundPicture) else ()
        for note in notes:
            tally.add("picture", "noted", note, picture.place)
        if not _is_kept(picture, objects, conversion.choice, tally):
            continue
        name = places.name_of(found, root)
        _check_repeated(name, _claim(picture, name, notes), tally, seen)
        yield _row(picture, name, size, objects)
        tally.pictures_kept += 1
        tally.objects_kept += len(objects)
    _check_end(conversion, tally)


def _check_repeated(name: str, note: _Claim, tally: Tally, seen: dict[str, _Claim]) -> None:
    """Count a picture that was there before.

    Raises:
        InputError: If one of the two may mean another file, which is not there.
    """
    before = seen.setdefault(name, note)
    if before is note:
        return
    if before.is_spelled or note.is_spelled:
        raise InputError(
            f"{note.place}: {name} is the picture of two entries, and one of them is spelled "
            f"otherwise; is a picture missing that differs from it in spelling only? The other "
            f"one is {before.place}"
        )
    if before.is_own and note.is_own:
        raise InputError(
            f"{note.place}: {name} is the picture of two annotation files that are called like "
            f"it; the other one is {before.place}. Is a picture missing? Convert them one by one"
        )
    tally.add("picture", "noted", "a picture that comes more than once", note.place)


def _check_end(conversion: Conversion, tally: Tally) -> None:
    _check_classes(conversion.choice, tally)
    report = tally.report()
    if not report.pictures_kept:
        raise InputError(_lost(conversion.src, report, "nothing is left to write"))
    if not report.objects_kept and (report.lost("object") or conversion.choice.points == "only"):
        # A file of pictures that show nothing would teach the model to find nothing.
        raise InputError(_lost(conversion.src, report, "every object was dropped"))
    if conversion.strict and report.problems:
        raise StrictError(report)


def _is_kept(
    picture: SourcePicture, objects: list[RecordObject], choice: KeepRules, tally: Tally
) -> bool:
    """Return whether a picture is kept, and count one on which there is nothing to teach."""
    if any(item.marks.is_taught for item in objects):
        return True
    lack = "nothing but crowds and ignored objects" if objects else "no objects"
    if choice.empty:
        tally.add("picture", "noted", f"{lack}: the answer is {{}}", picture.place)
    else:
        tally.add("picture", "dropped", lack, picture.place, asked=True)
        _drop_objects(len(objects), picture, tally, asked=True)
    return choice.empty


def _objects(
    picture: SourcePicture, size: tuple[int, int], choice: KeepRules, tally: Tally
) -> list[RecordObject]:
    """Return the objects of a picture.

    Raises:
        UnusableError: If the choice leaves the whole picture out.
    """
    if choice.crowd == "drop-picture" and any(shape.marks.is_crowd for shape in picture.shapes):
        raise UnusableError("a crowd on it", asked=True)
    found = Tally()  # what happens to objects counts only if it is not their picture that goes
    made = [_object(shape, size, choice, found) for shape in picture.shapes]
    objects = [item for item in made if item is not None]
    taught = sum(item.marks.is_taught for item in objects)
    if choice.most_objects is not None and taught > choice.most_objects:
        raise UnusableError(f"more than {choice.most_objects} objects", asked=True)
    tally.merge(found)
    return objects


def _object(
    shape: Shape, size: tuple[int, int], choice: KeepRules, tally: Tally
) -> RecordObject | None:
    try:
        return shape_to_object(shape, *size, choice, tally)
    except UnusableError as error:
        tally.add("object", "dropped", error.reason, shape.place, asked=error.asked)
        return None


def _drop(picture: SourcePicture, error: UnusableError, tally: Tally) -> None:
    place = f"{picture.place}: {error.detail}" if error.detail else picture.place
    tally.add("picture", "dropped", error.reason, place, asked=error.asked)
    _drop_objects(len(picture.shapes), picture, tally, asked=error.asked)


def _drop_objects(count: int, picture: SourcePicture, tally: Tally, *, asked: bool) -> None:
    if count:
        reason = "on a picture that was dropped"
        tally.add("object", "dropped", reason, picture.place, asked=asked, count=count)


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
        federated=picture.federated,
    )
    row = record_to_json(record, SPEC_ALPHABET)
    try:
        parse_record(row, SPEC_ALPHABET)  # the contract has the last word
    except RecordError as error:
        raise InputError(f"{picture.place}: cannot become a record: {error}") from None
    return row


def _check_classes(choice: KeepRules, tally: Tally) -> None:
    for name in sorted(choice.include | choice.exclude):
        if name not in tally.classes:
            near = get_close_matches(name, tally.classes, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {_listed(tally.classes)}"
            raise InputError(f"no class is called {name!r}; {hint}")


def _listed(classes: set[str]) -> str:
    names = ", ".join(shown(name) for name in sorted(classes)[:_NAMED]) or "none"
    more = len(classes) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names


def _lost(src: Path, report: Report, message: str) -> str:
    dropped = [finding for finding in report.findings if finding.fate == "dropped"]
    lines = [
        f"  {finding.count} {finding.subject}(s): {finding.reason}; the first: {finding.first}"
        for finding in dropped
    ]
    if any(finding.reason == MISSING for finding in dropped):
        lines.append("Are the pictures elsewhere? Name their folder with --images.")
    return "\n".join([f"{src}: {message}", *lines])
