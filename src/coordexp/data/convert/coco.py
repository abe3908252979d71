"""COCO instances: one JSON file of images, annotations and categories.

`area`, `iscrowd` and `ignore` are kept for the figures that COCO's tools make of them. `coco_shape`
reads one annotation, `coco_ids` says which id means which.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry import shown
from coordexp.data.convert.coco_ids import Ids, id_of
from coordexp.data.convert.coco_shape import annotation_to_shape, area_flaw
from coordexp.data.convert.pictures import likeliest_folder
from coordexp.data.convert.shapes import (
    Dataset,
    Query,
    Shape,
    SourcePicture,
    UnusableError,
)
from coordexp.data.convert.tally import Tally
from coordexp.errors import InputError

Row = Mapping[str, object]
Names = Mapping[Hashable, str]


class Form(Protocol):
    """What differs between files in COCO's form."""

    def file_names(self, row: Row) -> tuple[str, ...]:
        """Return what an image's file may be called, the likeliest first."""
        ...

    def federated(self, row: Row, classes: Set[str]) -> Federated | None:
        """Return what an image was searched for, None for everything.

        Args:
            row: The image.
            classes: Those on it.
        """
        ...


# Where every annotation has the key and none has a box.
_OTHER_TASKS = (
    ("segments_info", "is a panoptic file, whose shapes are in pictures of their own"),
    ("caption", "holds captions and no objects"),
)
_SPELLED = "an id that is text in one place and a number in another: taken for the same"
_WORDS = re.compile(r"[^A-Za-z0-9]+")


def read_coco(path: Path, document: Row, query: Query, tally: Tally) -> Dataset:
    """Return the pictures of a COCO file.

    Raises:
        InputError: If one of its three lists is missing, or its pictures are in no usual place.
    """
    names = category_names(path, document)
    return read_instances(path, document, query, tally, names, _Coco())


def read_instances(
    path: Path,
    document: Row,
    query: Query,
    tally: Tally,
    names: Names,
    form: Form,
) -> Dataset:
    """Return the pictures of a file in COCO's form.

    Args:
        path: Where the document comes from.
        document: Its images and annotations.
        query: What is wanted of it.
        tally: Where things without a picture are counted.
        names: Of the categories, by id.
        form: What is particular to the file's kind.

    Raises:
        InputError: If a list is missing, or its pictures are in no usual place.
    """
    tally.classes.update(names.values())
    images = rows_under(path, document, "images")
    annotations = _annotations_by_image(path, document, images, tally)
    unique = [*_unique_images(images, tally)]
    first_names = [name for _, row in unique for name in form.file_names(row)[:1]]
    categories = Ids(names)
    folder = _picture_folder(path, first_names, query)

    def pictures() -> Iterator[SourcePicture]:
        for at, row in unique:
            file_names = form.file_names(row)
            found = annotations.get(id_of(row["id"]), ())
            shapes = tuple(_shapes(found, names, categories, tally))
            yield SourcePicture(
                names=file_names,
                folders=(folder,),
                place=f"images[{at}] ({shown(file_names[0])})" if file_names else f"images[{at}]",
                shapes=shapes,
                width=row.get("width"),
                height=row.get("height"),
                metadata={"image_id": row["id"]},
                federated=form.federated(row, {shape.desc for shape in shapes}),
            )

    return Dataset(root=folder, pictures=pictures(), category_ids=_distinct_ids(names))


class _Coco:
    """COCO itself: pictures have a name, and were searched for every class."""

    def file_names(self, row: Row) -> tuple[str, ...]:
        name = row.get("file_name")
        return (name,) if isinstance(name, str) else ()

    def federated(self, row: Row, classes: Set[str]) -> Federated | None:  # noqa: ARG002
        return None


def check_instances(path: Path, document: Row) -> None:
    """Check that a file holds objects, and no other of COCO's tasks.

    Raises:
        InputError: If it does not.
    """
    rows = rows_under(path, document, "annotations")
    for key, kind in _OTHER_TASKS:
        if rows and all(key in row and "bbox" not in row for row in rows):
            raise InputError(f"{path}: {kind}; convert the instances file of the same pictures")


def rows_under(path: Path, document: Row, key: str) -> list[Row]:
    """Return a list of objects of the document.

    Raises:
        InputError: If it is missing or something else.
    """
    rows = document.get(key)
    if not isinstance(rows, list):
        raise InputError(f"{path}: {key}: expected a list, got {shown(rows)}")
    for at, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}: {key}[{at}]: expected an object, got {shown(row)}")
    return rows


def category_names(path: Path, document: Row) -> dict[Hashable, str]:
    """Return the name of each category id.

    Raises:
        InputError: If an id is there twice, or a category has no name.
    """
    names: dict[Hashable, str] = {}
    for at, row in enumerate(rows_under(path, document, "categories")):
        name, number = row.get("name"), id_of(row.get("id"))
        if not isinstance(name, str) or number is None:
            raise InputError(
                f"{path}: categories[{at}]: expected an id and a name, got {shown(row)}"
            )
        if names.setdefault(number, name) != name:
            raise InputError(
                f"{path}: categories[{at}]: the id {number!r} is that of {names[number]!r} as well"
            )
    return names


def _distinct_ids(names: Mapping[object, str]) -> dict[str, int]:
    """Return the number of each class; of a name with several numbers none is the right one."""
    times = Counter(names.values())
    return {
        name: number
        for number, name in names.items()
        if isinstance(number, int) and times[name] == 1
    }


def _annotations_by_image(
    path: Path, document: Row, images: Sequence[Row], tally: Tally
) -> dict[Hashable, list[tuple[int, Row]]]:
    """Return each image's annotations with their places in the file, in its order.

    Annotations of images that are not there are dropped; ids that come twice are noted.
    """
    known = Ids(key for row in images if (key := id_of(row.get("id"))) is not None)
    found: dict[Hashable, list[tuple[int, Row]]] = {}
    ids: set[Hashable] = set()
    for at, row in enumerate(rows_under(path, document, "annotations")):
        image, number = known.meant_by(row.get("image_id")), id_of(row.get("id"))
        if number is not None and number in ids:
            tally.add("object", "noted", "an annotation id that comes twice", f"annotations[{at}]")
        ids.add(number)
        if image is None:
            tally.drop_unread_object("an annotation of an image that is not there", _place(at, row))
            continue
        if image != id_of(row.get("image_id")):
            tally.add("object", "noted", _SPELLED, _place(at, row))
        found.setdefault(image, []).append((at, row))
    return found


def _unique_images(images: Sequence[Row], tally: Tally) -> Iterator[tuple[int, Row]]:
    """Yield the images with their places, those with an id of their own; the others are dropped."""
    seen: set[Hashable] = set()
    for at, row in enumerate(images):
        number = id_of(row.get("id"))
        if number is None or number in seen:
            flaw = "without an id" if number is None else "whose id is that of another"
            tally.drop_unread_picture(f"an image {flaw}", f"images[{at}]")
        else:
            seen.add(number)
            yield at, row


def _shapes(
    annotations: Sequence[tuple[int, Row]], names: Names, categories: Ids, tally: Tally
) -> Iterator[Shape]:
    """Yield the shapes of one image; what is no shape is dropped."""
    for at, row in annotations:
        place = _place(at, row)
        category = categories.meant_by(row.get("category_id"))
        if category is None:
            reason = "an annotation of a category that is not there"
            tally.drop_unread_object(reason, place)
            continue
        try:
            shape = annotation_to_shape(row, names[category], place)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place)
            continue
        if category != id_of(row.get("category_id")):
            tally.add("object", "noted", _SPELLED, place)
        if (flaw := area_flaw(row, shape)) is not None:
            tally.add("object", "noted", flaw, place)
        yield shape


def _picture_folder(path: Path, names: Sequence[str], query: Query) -> Path:
    """Return where the pictures of an annotation file are.

    The usual places are tried: beside the file, beside its folder, in `images/`, and in folders
    named like a word of the file's name, as `train2017/` for `instances_train2017.json`.

    Raises:
        InputError: If none of the first pictures is in any of them.
    """
    if query.images is not None:
        return query.images
    words = [word for word in _WORDS.split(path.stem) if word]
    near = (path.parent, path.parent.parent)
    parents = [folder for home in near for folder in (home, home / "images")]
    folders = [*parents, *(folder / word for word in words for folder in parents)]
    found = likeliest_folder(folders, names)
    if found is None:
        first = shown(names[0]) if names else "no picture"
        raise InputError(
            f"{path}: its pictures are in no usual place (the first one is {first}); name their "
            "folder with --images"
        )
    return found


def _place(at: int, row: Row) -> str:
    number = row.get("id")
    return f"annotations[{at}]" + ("" if number is None else f" (id {shown(number)})")
