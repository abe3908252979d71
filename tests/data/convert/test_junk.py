"""Whatever stands in a file: records come out of it, or an error in words."""

import copy
import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import (
    coco_document,
    convert,
    voc_object,
    write_coco,
    write_labelme,
    write_odvg,
    write_voc,
    write_yolo,
)

NUMBERS = (0, -1, 7, 7.0, 1e308, float("nan"), float("inf"), 10**400)
TEXTS = ("", "a", "7", "../a.png", "\0", "\ud800")
LISTS = ([], [[]], [None], [1, 2], [1, 2, 3, 4], [[1, 2, 3, 4]])
JUNK = st.sampled_from([None, True, {}, {"a": 1}, *NUMBERS, *TEXTS, *LISTS])
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]
COCO = coco_document(
    {"bbox": [1, 2, 3, 4], "segmentation": [SQUARE]},
    {"bbox": [1, 2, 3, 4], "segmentation": {"size": [48, 64], "counts": [9, 9, 3054]}},
)
LVIS = {**COCO, "images": [{**COCO["images"][0], "neg_category_ids": [1], "coco_url": "u/a.png"}]}  # type: ignore[index]
POLYGON = {
    "label": "cat",
    "shape_type": "polygon",
    "points": [[1, 1], [9, 1], [9, 9]],
    "group_id": 1,
}
LINE = {"label": "cat", "shape_type": "line", "points": [[1, 1], [9, 1]], "flags": {}}
INSTANCE = {"bbox": [1, 2, 3, 4], "label": 0, "category": "cat"}
REGION = {"bbox": [[1, 1, 9, 9]], "phrase": ["a", "man"]}
ROW = {"detection": {"instances": [INSTANCE]}, "grounding": {"caption": "a", "regions": [REGION]}}


def spoiled(document: object, junk: object, dice: random.Random) -> object:
    """Put junk in the place of one value, at any depth."""
    root = copy.deepcopy({"": document})
    at: object = root
    while True:
        assert isinstance(at, dict | list)
        key = dice.choice([*at] if isinstance(at, dict) else range(len(at)))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.1:
            at[key] = junk
            return root[""]
        at = inner


def convert_or_refuse(src: Path, *, geometry: str) -> None:
    with suppress(InputError):
        convert(src, src.parent / "out.jsonl", KeepRules(geometry=geometry), overwrite=True)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("junk")


GEOMETRY = st.sampled_from(["bbox", "poly", "prefer-poly"])


@given(st.sampled_from([COCO, LVIS]), JUNK, st.randoms(use_true_random=False), GEOMETRY)
def test_junk_in_coco(
    folder: Path, document: dict[str, object], junk: object, dice: random.Random, geometry: str
) -> None:
    src = write_coco(folder, document)
    src.write_text(json.dumps(spoiled(document, junk, dice)))
    convert_or_refuse(src.parent.parent, geometry=geometry)


@given(JUNK, st.randoms(use_true_random=False), GEOMETRY)
def test_junk_in_labelme(folder: Path, junk: object, dice: random.Random, geometry: str) -> None:
    src = write_labelme(folder / "labelme", POLYGON, POLYGON, LINE)
    src.write_text(json.dumps(spoiled(json.loads(src.read_text()), junk, dice)))
    convert_or_refuse(src, geometry=geometry)


@given(JUNK, st.randoms(use_true_random=False))
def test_junk_in_odvg(folder: Path, junk: object, dice: random.Random) -> None:
    src = write_odvg(folder / "odvg", ROW)
    src.write_text(json.dumps(spoiled(json.loads(src.read_text()), junk, dice)) + "\n")
    convert_or_refuse(src, geometry="bbox")


@given(st.text(alphabet="0123456789.-+e \n\tnaif\0\u0663"), GEOMETRY)
def test_junk_in_yolo(folder: Path, text: str, geometry: str) -> None:
    convert_or_refuse(write_yolo(folder / "yolo", f"0 {text}"), geometry=geometry)


@given(st.binary(max_size=8), st.integers(0, 300))
def test_junk_in_voc(folder: Path, junk: bytes, at: int) -> None:
    src = write_voc(folder / "voc", voc_object("cat", (1, 2, 3, 4)))
    data = src.read_bytes()
    src.write_bytes(data[:at] + junk + data[at + len(junk) :])
    convert_or_refuse(src, geometry="bbox")
