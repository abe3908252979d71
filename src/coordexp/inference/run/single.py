"""One picture, one call: `coordexp.predict`."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from coordexp.answers.class_filter import asked_classes, class_ids
from coordexp.answers.prediction_lines import CoordDecode, RowOptions, Scored, scored_objects
from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image, picture_record
from coordexp.inference.run.ask import AskOptions, Question, build_ask
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.model.hub import find_model

with warnings.catch_warnings():
    # It works without OpenCV, on NumPy, and says so each time.
    warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
    import supervision as sv

logger = logging.getLogger(__name__)

_LONGEST_ANSWER = 2048


def predict(
    model: Path | str | Predictor,
    image: Path | str | Image.Image,
    *,
    prompt: str | None = None,
    classes: Sequence[str] | None = None,
    restrict_to: Sequence[str] | None = None,
    coord_decode: CoordDecode = "token",
    dedup_iou: float | None = None,
) -> sv.Detections:
    """Return what a model finds in a picture.

    Boxes are in pixels of the picture; of polygons and lines they are the bounding boxes. Beside
    `xyxy` and `confidence` stand `data["class_name"]`, `data["geometry"]` with the kind and all
    coordinates. `class_id` is the place of the name in `metadata["classes"]`, the classes that the
    model was trained on: a class has the same number on every picture, whatever was asked for, and
    a name that was not trained has the number after the last. Where a model's `coordexp.json` has
    no such list, it is the one that was given, `restrict_to` or else `classes`; without any, every
    number is 0.

    Args:
        model: A merged model, an adapter checkpoint or a stock model, by its folder or by
            OWNER/NAME on a hub, which is kept in memory for the next call; or what `load_predictor`
            gives.
        image: A file or an upright picture.
        prompt: Asks this instead of what the model was trained on.
        classes: Keep only these descs; None keeps all. A filter: the model says what it sees, and
            what is left out is counted in the log. A stock model, and one that was trained with
            class lists, is also asked for these alone.
        restrict_to: Force every object into one of these descs; None for any. Right only where
            nothing else can be in the picture: whatever the model sees comes out as something of
            the list, with a score among the list alone.
        coord_decode: A coordinate is the token's bin, or the expectation around it.
        dedup_iou: Overlap from which an object repeats another; None keeps all.

    Raises:
        CheckpointError: If the model cannot be used.
        RecordError: If the picture cannot be read.
        InputError: If a list of classes is empty or names one that is, or a model without coord
            tokens is to be restricted.
    """
    predictor = model if isinstance(model, Predictor) else _loaded(Path(model))
    asked = None if classes is None else asked_classes(classes, predictor.classes)
    record, picture = _opened(image, prompt or predictor.style.question_for(asked or ()))
    options = AskOptions(
        constrain=True,
        restrict_to=None if restrict_to is None else tuple(restrict_to),
        max_new_tokens=_LONGEST_ANSWER,
    )
    row_options = RowOptions(
        coord_decode=coord_decode,
        dedup_iou=dedup_iou,
        classes=asked,
    )
    question = Question(predictor.encoder.encode_prompt(record, picture), picture)
    (answer,) = build_ask(predictor, options)([question])
    said = scored_objects(
        record,
        answer,
        predictor.style,
        row_options,
        end_marks=predictor.encoder.inputs.family.end_marks,
    )
    found = said.objects
    if not_asked := sum(drop.reason == "not in classes" for drop in said.dropped):
        logger.info("classes: left out %d of %d objects", not_asked, not_asked + len(found))
    numbered = list(predictor.classes or restrict_to or row_options.classes or ())
    return _detections(found, numbered)


def _detections(found: Sequence[Scored], classes: Sequence[str]) -> sv.Detections:
    names = [item.desc for item in found]
    return sv.Detections(
        xyxy=np.array([bounding_box(item.geometry.values) for item in found]).reshape(-1, 4),
        confidence=np.array([item.score for item in found], dtype=np.float64),
        class_id=np.array(class_ids(names, classes), dtype=np.int64),
        data={
            "class_name": np.array(names, dtype=np.str_),
            "geometry": _objects([(item.geometry.kind, item.geometry.values) for item in found]),
        },
        metadata={"classes": [*classes]},
    )


@lru_cache(maxsize=1)
def _loaded(path: Path) -> Predictor:
    return load_predictor(find_model(path).path)


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
