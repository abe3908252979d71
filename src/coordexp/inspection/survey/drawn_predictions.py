"""What a model said, drawn: each picture with its boxes as a file, and a page to browse them.

    out/index.html      the first `MOST_ANSWERS` pictures, small, with a filter of classes
    out/pictures/       each picture with its boxes, resized for reading

Nothing is judged here: where no truth is known, no box is right or wrong. What the lines know to be
true is shown beside; `coordexp evaluate` compares the two.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from coordexp.errors import InputError
from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.evaluation.page.gallery import open_picture
from coordexp.files import check_writable, whole_directory
from coordexp.viewing.answers import Mark, ShownAnswer, answer_browser, thumbnail_uri
from coordexp.viewing.draw import DrawnObject, draw_by_class
from coordexp.viewing.page import Page

MOST_ANSWERS = 500
PAGE_NAME, PICTURES = "index.html", "pictures"
_QUALITY = 92


class Drawn(NamedTuple):
    """What was drawn.

    Args:
        page: The page.
        pictures: How many are drawn.
    """

    page: Path
    pictures: int


def check_drawable(out: Path, *, overwrite: bool) -> None:
    """Check that a folder can be drawn into; of an earlier one no more than drawings is replaced.

    Raises:
        InputError: If it is a file, exists and may not be replaced, or holds anything else.
    """
    check_writable(out, overwrite=overwrite)
    others = sorted({path.name for path in out.glob("*")} - {PAGE_NAME, PICTURES})
    if others:
        raise InputError(
            f"{out}: holds more than an earlier drawing ({others[0]}), which --overwrite would "
            "take away; name a folder of its own"
        )


def draw_predictions(predictions: Path, out: Path, *, overwrite: bool) -> Drawn:
    """Draw the pictures of a predictions file into a folder, which appears when it is complete.

    Args:
        predictions: The file; its pictures are found through each line's `root`.
        out: The folder.
        overwrite: Whether it may be there already.

    Raises:
        InputError: If the file cannot be read, or as `check_drawable` does.
        RecordError: If a line breaks the contract.
    """
    check_drawable(out, overwrite=overwrite)
    rows = read_predictions(predictions)
    names = picture_names(rows)
    shown: list[ShownAnswer] = []
    count = 0
    with whole_directory(out, overwrite=overwrite) as folder:
        for row, name in zip(rows, names, strict=True):
            picture = open_picture(row, predictions.parent)
            if picture is not None:
                count += 1
                _draw(row, picture, folder / PICTURES / name)
            if len(shown) < MOST_ANSWERS:
                shown.append(_shown(row, picture))
        _page(rows, shown, missing=len(rows) - count).write(folder / PAGE_NAME)
    return Drawn(out / PAGE_NAME, count)


def picture_names(rows: Sequence[Prediction]) -> list[str]:
    """Return the name of each drawing: the picture's path, with a number where it comes again.

    Example:
        >>> from coordexp.evaluation.measure.predictions import parse_prediction
        >>> row = {"image": "a/b.png", "width": 1, "height": 1, "gt": [], "pred": []}
        >>> picture_names([parse_prediction(row)] * 2)
        ['a/b.png.jpg', 'a/b.png.2.jpg']
    """
    times: dict[str, int] = {}
    names = []
    for row in rows:
        times[row.image] = times.get(row.image, 0) + 1
        again = "" if times[row.image] == 1 else f".{times[row.image]}"
        names.append(f"{row.image}{again}.jpg")
    return names


def _draw(row: Prediction, picture: Image.Image, path: Path) -> None:
    objects = [DrawnObject(item.desc, item.geometry, item.score) for item in row.predicted]
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_by_class(picture, objects).save(path, "JPEG", quality=_QUALITY)


def _page(rows: Sequence[Prediction], shown: Sequence[ShownAnswer], *, missing: int) -> Page:
    objects = sum(len(row.predicted) for row in rows)
    values = {
        "missing": f"{missing} of {len(rows):,} pictures could not be opened." if missing else "",
        "left_out": len(rows) - len(shown),
        "has_truth": any(row.truth for row in rows),
        "browser": answer_browser(shown, judged=False),
    }
    told = f"{len(rows):,} pictures, {objects:,} objects."
    return Page(__name__, "predictions.html.j2", "Predictions", told, values)


def _shown(row: Prediction, picture: Image.Image | None) -> ShownAnswer:
    count = len(row.predicted)
    remark = f"{count} object{'' if count == 1 else 's'}"
    if row.prompt is not None:
        remark += f"; asked: {row.prompt}"
    if row.status not in ("ok", None):
        remark += f"; answer {row.status}"
    true = [Mark(item.desc, item.desc, item.geometry, true=True) for item in row.truth]
    said = [
        Mark(item.desc, item.desc, item.geometry, true=False, score=item.score)
        for item in row.predicted
    ]
    return ShownAnswer(
        title=row.image,
        remark=remark,
        picture=None if picture is None else thumbnail_uri(picture),
        size=(row.width, row.height),
        marks=[*true, *said],
        tokens=row.tokens or [(row.raw_text, None)],
    )
