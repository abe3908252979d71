"""COCO: one JSON file. Lines have no place in it."""

from collections.abc import Iterable, Mapping

from coordexp.data.contract.marks import marks_to_json
from coordexp.data.convert.objects.outline import ring_area
from coordexp.data.export.labelled import LabelledObject, LabelledPicture

KINDS = frozenset({"bbox_2d", "poly"})
Row = dict[str, object]


def coco_document(pictures: Iterable[LabelledPicture], numbers: Mapping[str, int]) -> Row:
    """Return the annotation file; predictions have a `score` beside each annotation.

    Pictures keep the number that they came with, where all have one and each another.

    Args:
        pictures: What is written.
        numbers: Of the classes.
    """
    listed = list(pictures)
    known = [picture.image_id for picture in listed]
    kept = None not in known and len(set(known)) == len(known)
    images: list[Row] = []
    annotations: list[Row] = []
    for place, picture in enumerate(listed, start=1):
        number = picture.image_id if kept else place
        images.append(
            {
                "id": number,
                "file_name": picture.image,
                "width": picture.width,
                "height": picture.height,
            }
        )
        annotations += [
            {
                "id": len(annotations) + at,
                "image_id": number,
                "category_id": numbers[item.desc],
                **_shape(item),
            }
            for at, item in enumerate(_shown(picture), start=1)
        ]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "categories": categories, "annotations": annotations}


def _shown(picture: LabelledPicture) -> list[LabelledObject]:
    return [item for item in picture.objects if item.kind in KINDS]


def _shape(item: LabelledObject) -> Row:
    x1, y1, x2, y2 = item.box
    size = [round(x2 - x1, 4), round(y2 - y1, 4)]
    outline = item.kind == "poly"
    area = abs(ring_area(item.values)) if outline else size[0] * size[1]
    row: Row = {"bbox": [x1, y1, *size], "area": area, "iscrowd": 0}
    row |= marks_to_json(item.marks)
    if outline:
        row["segmentation"] = [list(item.values)]
    if item.score is not None:
        row["score"] = item.score
    return row
