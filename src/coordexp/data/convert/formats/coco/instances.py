"""The pictures of a document in COCO's form, with the annotations of each.

`area`, `iscrowd` and `ignore` are kept for the figures that COCO's tools make of them.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry import shown
from coordexp.data.convert.formats.coco.document import Names, Row, rows_under
from coordexp.data.convert.formats.coco.ids import Ids, id_of
from coordexp.data.convert.formats.coco.keypoints import (
    KeypointNames,
    keypoint_names,
    keypoints_to_shapes,
)
from coordexp.data.convert.formats.coco.shape import annotation_to_shape, area_flaw
from coordexp.data.convert.pictures.finding import likeliest_folder
from coordexp.data.convert.reading.format import Query, Source
from coordexp.data.convert.reading.shapes import (
    Dataset,
    Shape,
    SourcePicture,
    UnusableError,
)
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError


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


_SPELLED = "an id that is text in one place and a number in another: taken for the same"
_WORDS = re.compile(r"[^A-Za-z0-9]+")


def read_instances(
    source: Source,
    document: Row,
    tally: Tally,
    names: Names,
    form: Form,
) -> Dataset:
    """Return the pictures of a file in COCO's form.

    Args:
        source: Where the document comes from.
        document: Its images and annotations.
        tally: Where things without a picture are counted.
        names: Of the categories, by id.
        form: What is particular to the file's kind.

    Raises:
        InputError: If a list is missing, or its pictures are in no usual place.
    """
    path = source.path
    tally.classes.update(names.values())
    images = rows_under(path, document, "images")
    annotations = _annotations_by_image(path, document, images, tally)
    unique = [*_unique_images(images, tally)]
    first_names = [name for _, row in unique for name in form.file_names(row)[:1]]
    categories = Ids(names)
    named = keypoint_names(rows_under(path, document, "categories"))
    keypoints = named if source.query.points else {}
    folder = _picture_folder(path, first_names, source.query)

    def pictures() -> Iterator[SourcePicture]:
        for at, row in unique:
            file_names = form.file_names(row)
            found = annotations.get(id_of(row["id"]), ())
            shapes = tuple(_shapes(found, names, categories, keypoints, tally))
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
    annotations: Sequence[tuple[int, Row]],
    names: Names,
    categories: Ids,
    keypoints: KeypointNames,
    tally: Tally,
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
        if category in keypoints:
            yield from keypoints_to_shapes(row, shape, keypoints[category], tally)


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
