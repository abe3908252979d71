"""Finding the label file of each picture of a YOLO dataset.

Labels are where Ultralytics looks for them: the last `images` in the picture's path (or Darknet's
`JPEGImages`) becomes `labels`. Where there is none, in `labels/` of the dataset, or beside the
picture. They are found as `lookup` finds all files: in any letter case, `.TXT` as well.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from coordexp.data.convert.formats.yolo.description import Description
from coordexp.data.convert.pictures.lookup import Lookup
from coordexp.data.convert.reading.shapes import UnusableError
from coordexp.data.convert.reading.tally import MANY_PERCENT, Tally
from coordexp.errors import InputError

_PICTURE_FOLDERS = ("images", "jpegimages")
_NO_LABELS = "no label file: nothing of the classes is on it"


def find_label_files(
    pictures: Sequence[Path], description: Description, src: Path, tally: Tally, *, empty: bool
) -> dict[Path, Path]:
    """Return the label files of those pictures that have one.

    Args:
        pictures: Their files.
        description: Where the pictures and their labels may be.
        src: What is converted, for the error.
        tally: Where pictures without labels are counted.
        empty: Whether they are wanted; where they are not, there may be any number of them.

    Raises:
        InputError: If more than half have none, or several files fit one.
    """
    lookup = Lookup(None)
    found = {picture: _label_file(lookup, picture, description) for picture in pictures}
    labels = _without_strangers({key: file for key, file in found.items() if file is not None})
    missing = [picture for picture in found if picture not in labels]
    if 2 * len(missing) > len(found) and (empty or len(missing) == len(found)):
        raise _nothing_found(missing, len(found), description, src)
    if empty and 100 * len(missing) > MANY_PERCENT * len(found):
        tally.doubts.append(
            f"{len(missing):,} of {len(found):,} pictures have no label file, and count as "
            f"pictures that show nothing of the classes (the first: {missing[0]})"
        )
    for picture in missing:
        tally.add("picture", "noted", _NO_LABELS, str(picture))
    return labels


def _label_file(lookup: Lookup, picture: Path, description: Description) -> Path | None:
    for home, inside in _spots(picture, description):
        try:
            match = lookup.find(home, str(inside))
        except UnusableError:  # a name that is no text; the picture is dropped for it later
            return None
        if len(match.paths) > 1:
            listed = " and ".join(map(str, match.paths))
            raise InputError(f"{picture}: {listed} may both hold its labels; rename one")
        if match.paths:
            return home / inside if match.exact else match.paths[0]
    return None


def _without_strangers(labels: Mapping[Path, Path]) -> dict[Path, Path]:
    """Leave out pictures that fit a label file in another spelling, if one fits it as it is."""
    own = {file for picture, file in labels.items() if picture.stem == file.stem}
    kept: dict[Path, Path] = {}
    users: dict[Path, Path] = {}
    for picture, file in labels.items():
        is_own = picture.stem == file.stem
        if file in own and not is_own:
            continue
        if not is_own and users.setdefault(file, picture) != picture:
            raise InputError(f"{file}: may be the labels of {users[file]} and of {picture}")
        kept[picture] = file
    return kept


def _spots(picture: Path, description: Description) -> Iterator[tuple[Path, Path]]:
    """Yield where a picture's labels may be: an existing folder, and the path below it."""
    root, home = description.root, description.home
    below = _path_below(root, picture)
    if below is not None:
        inside = below.with_suffix(".txt")
        yield from _swapped(root, inside)
        yield root, "labels" / inside
        yield home, "labels" / inside
    for place, entry in zip(description.places, description.entries, strict=True):
        below = _path_below(place, picture)
        if below is not None and below.parts:
            written = Path(entry.replace("\\", "/").removeprefix("../"))
            yield from _swapped(home, written / below.with_suffix(".txt"))
    yield picture.parent, Path(picture.name).with_suffix(".txt")


def _path_below(folder: Path, picture: Path) -> Path | None:
    """Return a picture's path relative to a folder, or None; one of them may be absolute."""
    if picture.is_relative_to(folder):
        return picture.relative_to(folder)
    real, home = os.path.realpath(picture), os.path.realpath(folder)
    return Path(real).relative_to(home) if Path(real).is_relative_to(home) else None


def _swapped(base: Path, inside: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the path with its last `images` as `labels`, be it the base that is called so."""
    whole = Path(os.path.abspath(base))  # noqa: PTH100 - links stay, and `.` gets its name
    above = whole.parts[-2:]
    parts = (*above, *inside.parts)
    for at in reversed(range(len(parts) - 1)):
        if parts[at].lower() in _PICTURE_FOLDERS:
            swapped = Path(*parts[:at], "labels", *parts[at + 1 :])
            if at < len(above):
                yield whole.parents[len(above) - 1], swapped
            else:
                yield base, swapped.relative_to(*above)
            return


def _nothing_found(
    missing: Sequence[Path], count: int, description: Description, src: Path
) -> InputError:
    spots = [home / inside for home, inside in _spots(missing[0], description)]
    places = "\n".join(f"  {path}" for path in dict.fromkeys(spots))
    return InputError(
        f"{src}: {len(missing):,} of {count:,} pictures have no label file, which is more than "
        f"half. The labels of {missing[0]} were looked for as\n{places}\n"
        "Move the labels there. If these pictures show nothing of the classes, give each an empty "
        "file; if they are not labelled yet, leave them out with --drop-empty"
    )
