"""One picture, one call: `coordexp.predict`."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from coordexp.data.geometry import bounding_box
from coordexp.data.image import load_image, picture_record
from coordexp.data.record import Record
from coordexp.inference.ask import AskOptions, Question, build_ask
from coordexp.inference.predictor import Predictor, load_predictor
from coordexp.inference.rows import CoordDecode, RowOptions, scored_objects

with warnings.catch_warnings():
    # It works without OpenCV, on NumPy, and says so each time.
    warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
    import supervision as sv

_LONGEST_ANSWER = 2048


def predict(
    model: Path | str | Predictor,
    image: Path | str | Image.Image,
    *,
    prompt: str | None = None,
    classes: Sequence[str] | None = None,
    coord_decode: CoordDecode = "token",
    dedup_iou: float | None = None,
) -> sv.Detections:
    """Return what a model finds in a picture.

    Boxes are in pixels of the picture; of polygons and lines they are the bounding boxes. Beside
    `xyxy` and `confidence` stand `data["class_name"]`, `data["geometry"]` with the kind and all
    coordinates, and `class_id`, which numbers `classes`, or else the names found.

    Args:
        model: A merged model or adapter checkpoint, which is kept in memory for the next call, or
            what `load_predictor` gives.
        image: A file or an upright picture.
        prompt: Asks this instead of what the model was trained on.
        classes: The only descs there may be; None for any.
        coord_decode: A coordinate is the token's bin, or the expectation around it.
        dedup_iou: Overlap from which an object repeats another; None keeps all.

    Raises:
        CheckpointError: If the model cannot be used.
        RecordError: If the picture cannot be read.
    """
    predictor = model if isinstance(model, Predictor) else _loaded(Path(model))
    record, picture = _opened(image, prompt)
    options = AskOptions(
        constrain=True,
        classes=None if classes is None else tuple(classes),
        max_new_tokens=_LONGEST_ANSWER,
    )
    question = Question(predictor.encoder.encode_prompt(record, picture), picture)
    (answer,) = build_ask(predictor, options)([question])
    row_options = RowOptions(coord_decode=coord_decode, dedup_iou=dedup_iou)
    found = scored_objects(record, answer, predictor.style, row_options).objects
    names = list(classes) if classes is not None else sorted({item.desc for item in found})
    return sv.Detections(
        xyxy=np.array([bounding_box(item.geometry.values) for item in found]).reshape(-1, 4),
        confidence=np.array([item.score for item in found], dtype=np.float64),
        class_id=np.array([names.index(item.desc) for item in found], dtype=np.int64),
        data={
            "class_name": np.array([item.desc for item in found], dtype=np.str_),
            "geometry": _objects([(item.geometry.kind, item.geometry.values) for item in found]),
        },
    )


@lru_cache(maxsize=1)
def _loaded(path: Path) -> Predictor:
    return load_predictor(path)


def _opened(image: Path | str | Image.Image, prompt: str | None) -> tuple[Record, Image.Image]:
    if isinstance(image, Image.Image):
        picture = image.convert("RGB")
        width, height = picture.size
        record = Record(images=("picture",), width=width, height=height, objects=())
    else:
        path = Path(image)
        record = picture_record(path.parent, path.name)
        picture = load_image(path.parent, record)
    return replace(record, prompt=prompt), picture


def _objects(values: Sequence[object]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
