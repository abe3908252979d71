"""Label Studio: tasks in JSON, and the labelling interface that they need.

Records become annotations, predictions become predictions, which annotators see and correct. Shapes
are in hundredths of the picture. Lines have no place in it.
"""

from collections.abc import Iterable, Iterator
from html import escape

from coordexp.data.export.labelled import LabelledObject, LabelledPicture

KINDS = frozenset({"bbox_2d", "poly"})
Row = dict[str, object]
_TAGS = {"bbox_2d": "rectanglelabels", "poly": "polygonlabels"}


def labelstudio_tasks(
    pictures: Iterable[LabelledPicture], *, url: str, predicted: bool
) -> list[Row]:
    """Return the tasks.

    Args:
        pictures: What is written.
        url: Goes before the path of each picture; where Label Studio finds it.
        predicted: Whether the objects are a model's.
    """
    tasks: list[Row] = []
    for picture in pictures:
        drawn: Row = {"result": list(_regions(picture))}
        if predicted:
            scores = [item.score for item in picture.objects if item.score is not None]
            drawn |= {"model_version": "coordexp", "score": sum(scores) / max(1, len(scores))}
        key = "predictions" if predicted else "annotations"
        tasks.append({"data": {"image": f"{url}{picture.image}"}, key: [drawn]})
    return tasks


def labelling_interface(classes: Iterable[str]) -> str:
    """Return the interface that shows boxes and polygons of some classes."""
    labels = "".join(f'    <Label value="{escape(name)}"/>\n' for name in classes)
    controls = "".join(
        f'  <{tag} name="{kind}" toName="image">\n{labels}  </{tag}>\n'
        for kind, tag in (("bbox_2d", "RectangleLabels"), ("poly", "PolygonLabels"))
    )
    return f'<View>\n  <Image name="image" value="$image"/>\n{controls}</View>\n'


def _regions(picture: LabelledPicture) -> Iterator[Row]:
    for number, item in enumerate(picture.objects, start=1):
        if item.kind in KINDS:
            region: Row = {
                "id": f"object_{number}",
                "from_name": item.kind,
                "to_name": "image",
                "type": _TAGS[item.kind],
                "original_width": picture.width,
                "original_height": picture.height,
                "image_rotation": 0,
                "value": {**_place(item, picture), _TAGS[item.kind]: [item.desc]},
            }
            yield region if item.score is None else {**region, "score": item.score}


def _place(item: LabelledObject, picture: LabelledPicture) -> Row:
    wide, high = picture.width / 100, picture.height / 100
    if item.kind == "poly":
        pairs = zip(item.values[::2], item.values[1::2], strict=True)
        return {"points": [[x / wide, y / high] for x, y in pairs], "closed": True}
    x1, y1, x2, y2 = item.box
    size = {"width": (x2 - x1) / wide, "height": (y2 - y1) / high}
    return {"x": x1 / wide, "y": y1 / high, **size, "rotation": 0}
