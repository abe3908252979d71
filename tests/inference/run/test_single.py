from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coordexp
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.inference.run.predictor import Predictor


@pytest.fixture
def picture(scenes: Path) -> Path:
    return scenes.parent / RecordFile(scenes, SPEC_ALPHABET)[0].image


def test_one_picture_gives_detections(predictor: Predictor, picture: Path) -> None:
    classes = ("six", "seven")
    found = coordexp.predict(predictor, picture, restrict_to=classes)
    assert len(found) > 0
    assert found.xyxy.shape == (len(found), 4)
    assert found.confidence.min() > 0
    names = found.data["class_name"]
    assert [classes[number] for number in found.class_id] == list(names)
    opened = coordexp.predict(predictor, Image.open(picture), restrict_to=classes)
    np.testing.assert_array_equal(found.xyxy, opened.xyxy)


def test_a_model_is_loaded_once(model_path: Path, picture: Path) -> None:
    found = [
        coordexp.predict(str(model_path), picture, restrict_to=["six"], prompt=prompt)
        for prompt in (None, None)
    ]
    np.testing.assert_array_equal(found[0].xyxy, found[1].xyxy)
    assert len(found[0].data["geometry"]) == len(found[0])
