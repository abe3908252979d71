"""COCO instances: one JSON file of images, annotations and categories.

`area` is not used, for files that were scaled or cropped often keep the old one; where it disagrees
with box and outline it is noted. The box of an annotation is its `bbox`; its `segmentation` is only
looked at where outlines are wanted or there is no box.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from coordexp.data.convert.pictures import likeliest_folder
from coordexp.data.convert.report import Tally
from coordexp.data.convert.source import (
    Dataset,
    Query,
    Shape,
    SourcePicture,
    UnusableError,
    finite_numbers,
    size_to_box,
)
from coordexp.data.geometry import shown
from coordexp.errors import InputError

Row = Mapping[str, object]
Described = tuple[tuple[str, ...], Mapping[str, object]]

_WORDS = re.compile(r"[^A-Za-z0-9]+")


def read_coco(path: Path, document: Row, query: Query, tally: Tally) -> Dataset:
    """Return the pictures of a COCO file.

    Raises:
        InputError: If one of its three lists is missing, or its pictures are in no usual place.
    """

    def described(row: Row) -> Described:
        name = row.get("file_name")
        return (name,) if isinstance(name, str) else (), {"image_id": row["id"]}

    names = category_names(path, document)
    return read_instances(path, document, query, tally, names=names, described=described)


def read_instances(
    path: Path,
    document: Row,
    query: Query,
    tally: Tally,
    *,
    names: Mapping[object, str],
    described: Callable[[Row], Described],
) -> Dataset:
    """Return the pictures of a file in COCO's form.

    Args:
        path: Where the document comes from.
        document: Its images and annotations.
        query: What is wanted of it.
        tally: Where things without a picture are counted.
        names: Of the categories, by id.
        described: Gives an image's possible file names and its metadata.
    """
    tally.classes.update(names.values())
    images = rows_under(path, document, "images")
    annotations = _annotations_by_image(path, document, images, tally)
    unique = [*_unique_images(images, tally)]
    first_names = [name for _, row in unique for name in described(row)[0][:1]]
    folder = _picture_folder(path, first_names, query)

    def pictures() -> Iterator[SourcePicture]:
        for at, row in unique:
            file_names, metadata = described(row)
            yield SourcePicture(
                names=file_names,
                folders=(folder,),
                place=f"images[{at}] ({shown(file_names[0])})" if file_names else f"images[{at}]",
                shapes=tuple(_shapes(annotations.get(_key_of(row["id"]), ()), names, tally)),
                width=row.get("width"),
                height=row.get("height"),
                metadata=metadata,
            )

    return Dataset(root=folder, pictures=pictures())


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


def category_names(path: Path, document: Row) -> dict[object, str]:
    """Return the name of each category id.

    Raises:
        InputError: If an id is there twice, or a category has no name.
    """
    names: dict[object, str] = {}
    for at, row in enumerate(rows_under(path, document, "categories")):
        name, number = row.get("name"), row.get("id")
        if not isinstance(name, str) or not isinstance(number, int | str):
            raise InputError(
                f"{path}: categories[{at}]: expected an id and a name, got {shown(row)}"
            )
        if names.setdefault(number, name) != name:
            raise InputError(
                f"{path}: categories[{at}]: the id {number!r} is that of {names[number]!r} as well"
            )
    return names


def _annotations_by_image(
    path: Path, document: Row, images: Sequence[Row], tally: Tally
) -> dict[object, list[tuple[int, Row]]]:
    """Return each image's annotations with their places in the file, in its order.

    Annotations of images that are not there are dropped; ids that come twice are noted.
    """
    known = {_key_of(row.get("id")) for row in images}
    found: dict[object, list[tuple[int, Row]]] = {}
    ids: set[object] = set()
    for at, row in enumerate(rows_under(path, document, "annotations")):
        image, number = _key_of(row.get("image_id")), _key_of(row.get("id"))
        if number is not None and number in ids:
            tally.add("object", "noted", "an annotation id that comes twice", f"annotations[{at}]")
        ids.add(number)
        if image not in known:
            tally.drop_unread_object("an annotation of an image that is not there", _place(at, row))
        else:
            found.setdefault(image, []).append((at, row))
    return found


def _unique_images(images: Sequence[Row], tally: Tally) -> Iterator[tuple[int, Row]]:
    """Yield the images with their places, those with an id of their own; the others are dropped."""
    seen: set[object] = set()
    for at, row in enumerate(images):
        number = _key_of(row.get("id"))
        if number is None or number in seen:
            flaw = "without an id" if number is None else "whose id is that of another"
            tally.drop_unread_picture(f"an image {flaw}", f"images[{at}]")
        else:
            seen.add(number)
            yield at, row


def _shapes(
    annotations: Sequence[tuple[int, Row]], names: Mapping[object, str], tally: Tally
) -> Iterator[Shape]:
    """Yield the shapes of one image; what is no shape is dropped."""
    for at, row in annotations:
        place = _place(at, row)
        try:
            shape = _shape(row, names, place)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place)
            continue
        if _area_disagrees(row, shape):
            tally.add("object", "noted", "an area that disagrees with its shape: not used", place)
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


def _key_of(value: object) -> object:
    """Return an id that can be looked up, or None where it is none."""
    if isinstance(value, float) and value.is_integer():  # tables write 1 as 1.0
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _place(at: int, row: Row) -> str:
    number = row.get("id")
    return f"annotations[{at}]" + ("" if number is None else f" (id {shown(number)})")


def _shape(row: Row, names: Mapping[object, str], place: str) -> Shape:
    name = names.get(_key_of(row.get("category_id")))
    if name is None:
        raise UnusableError("an annotation of a category that is not there")
    segmentation, box = row.get("segmentation"), row.get("bbox")
    outlines: tuple[tuple[float, ...], ...] = ()
    mask = segmentation if isinstance(segmentation, dict) else None
    if isinstance(segmentation, list):
        outlines = tuple(_outline(ring) for ring in segmentation)
    if not box and not outlines and mask is None:
        raise UnusableError("an annotation without box and segmentation")
    return Shape(
        desc=name,
        place=place,
        box=size_to_box(box) if box else None,
        outlines=outlines,
        mask=mask,
        crowd=bool(row.get("iscrowd")),
    )


def _outline(values: object) -> tuple[float, ...]:
    numbers = finite_numbers(values)  # too few of them have no area, and that is counted later
    if len(numbers) % 2:
        raise UnusableError("an outline with half a point")
    return numbers


def _area_disagrees(row: Row, shape: Shape) -> bool:
    """Return whether the stated area does not even fit into the box, a pixel added all around."""
    area = row.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float) or shape.box is None:
        return False
    x1, y1, x2, y2 = shape.box
    return area > (x2 - x1 + 2) * (y2 - y1 + 2)
