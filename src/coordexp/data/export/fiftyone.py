"""FiftyOne's image detection dataset: `labels.json`, boxes in shares of the picture.

`fiftyone.Dataset.from_dir(dataset_type=fiftyone.types.FiftyOneImageDetectionDataset,
data_path=..., labels_path=...)` reads it. Of polygons the box is written; lines have no place.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from coordexp.data.export.labelled import LabelledObject, LabelledPicture
from coordexp.errors import InputError

KINDS = frozenset({"bbox_2d", "poly"})
Row = dict[str, object]


def fiftyone_labels(pictures: Iterable[LabelledPicture], classes: Iterable[str]) -> Row:
    """Return the labels of each picture, by its path without the suffix.

    Args:
        pictures: What is written.
        classes: Of all of them.

    Raises:
        InputError: If two pictures differ in their suffix alone.
    """
    labels: dict[str, object] = {}
    for picture in pictures:
        name = PurePosixPath(picture.image).with_suffix("").as_posix()
        if name in labels:
            raise InputError(
                f"{picture.image}: another picture is called so too, but for the suffix"
            )
        labels[name] = [_detection(item, picture) for item in picture.objects if item.kind in KINDS]
    return {"classes": list(classes), "labels": labels}


def _detection(item: LabelledObject, picture: LabelledPicture) -> Row:
    x1, y1, x2, y2 = item.box
    wide, high = picture.width, picture.height
    box = [x1 / wide, y1 / high, (x2 - x1) / wide, (y2 - y1) / high]
    row: Row = {"label": item.desc, "bounding_box": box}
    if item.score is not None:
        row["confidence"] = item.score
    if item.marks.iscrowd:
        row["attributes"] = {"iscrowd": True}
    return row
