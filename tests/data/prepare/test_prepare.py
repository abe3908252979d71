import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import (
    Geometry,
    Record,
    RecordObject,
    parse_record,
    record_to_json,
)
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.prepare.counts import PreparedCounts
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.prepare import prepare_file, tokenise_record
from coordexp.errors import InputError, RecordError

TOKENISE = PrepareOptions(alphabet=SPEC_ALPHABET)
LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
BOX = Geometry("bbox_2d", (0, 24.25, 32, 48), "px")
RECORD = Record(
    images=("a.png",), width=64, height=48, objects=(RecordObject("cat", BOX),), prompt="find"
)


def write(path: Path, *objects: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"images": ["img/a.png"], "width": 64, "height": 48}
    lines = [json.dumps({**row, "objects": [item]}) for item in objects]
    path.write_text("\n".join(lines))
    return path


def test_bins_come_with_the_exact_pixels() -> None:
    (item,) = tokenise_record(RECORD, SPEC_ALPHABET).objects
    # 24.25 / 48 * 999 = 504.703; 32 / 64 * 999 = 499.5, half up
    assert item.geometry == Geometry("bbox_2d", (0, 505, 500, 999), "bin")
    assert item.exact == item.best_geometry == BOX
    assert tokenise_record(RECORD, LOC).objects[0].geometry.values == (0, 517, 512, 1023)


def test_tokenising_twice_is_tokenising_once_and_survives_json() -> None:
    once = tokenise_record(RECORD, SPEC_ALPHABET)
    assert tokenise_record(once, SPEC_ALPHABET) == once
    assert (
        parse_record(json.loads(json.dumps(record_to_json(once, SPEC_ALPHABET))), SPEC_ALPHABET)
        == once
    )
    assert once.prompt == "find"


SIDE = 1_000_000
# Where writers of JSON differ: small numbers, whole ones, the sign of zero.
numbers = st.one_of(st.floats(0, 1e-3), st.floats(0, SIDE), st.integers(0, SIDE))
boxes = st.tuples(*[st.lists(numbers, min_size=2, max_size=2, unique=True)] * 2).map(
    lambda ends: [min(ends[0]), min(ends[1]), max(ends[0]), max(ends[1])]
)


@given(boxes)
@example([0.0, -0.0, 1e-5, 1e6])
@example([1e-6, 9.999999999999999e-05, 10.00001, 1.00001e-5 + 1e-3])
def test_exact_pixels_are_written_as_json_writes_them(box: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        src, dst = Path(folder, "raw.jsonl"), Path(folder, "train.jsonl")
        row = {"images": ["a.png"], "width": SIDE, "height": SIDE}
        src.write_text(json.dumps({**row, "objects": [{"desc": "a", "bbox_2d": box}]}))
        prepare_file(src, dst, TOKENISE)
        assert f'"bbox_2d_px": {json.dumps(box)}}}' in dst.read_text()


def test_a_file_is_prepared_beside_its_source(tmp_path: Path) -> None:
    src = write(
        tmp_path / "raw.jsonl",
        {"desc": "a", "bbox_2d": [0, 0, 64, 48]},
        {"desc": "thin", "bbox_2d": [1.0, 0, 1.001, 48]},
        {"desc": "done", "line": ["<|coord_1|>", "<|coord_2|>", "<|coord_1|>", "<|coord_4|>"]},
    )
    dst = tmp_path / "train.jsonl"
    counts = PreparedCounts(read=3, records=3, objects=3, already_tokens=1, flat=1)
    assert prepare_file(src, dst, TOKENISE) == counts
    assert json.loads(dst.read_text().splitlines()[0]) == {
        "images": ["img/a.png"],
        "width": 64,
        "height": 48,
        "objects": [
            {
                "desc": "a",
                "bbox_2d": ["<|coord_0|>", "<|coord_0|>", "<|coord_999|>", "<|coord_999|>"],
                "bbox_2d_px": [0, 0, 64, 48],
            }
        ],
    }
    assert [*RecordFile(dst, SPEC_ALPHABET)] == [
        tokenise_record(record, SPEC_ALPHABET) for record in RecordFile(src, SPEC_ALPHABET)
    ]


def test_crowds_and_areas_are_carried_along_and_counted(tmp_path: Path) -> None:
    box = {"desc": "cat", "bbox_2d": [0, 0, 32, 24]}
    src = write(
        tmp_path / "raw.jsonl", box | {"area": 700}, box | {"iscrowd": 1}, box | {"ignore": 1}
    )
    counts = prepare_file(src, tmp_path / "t.jsonl", TOKENISE)
    assert (counts.objects, counts.untaught, counts.unknown_keys) == (3, 2, {})
    objects = [record.objects[0] for record in RecordFile(tmp_path / "t.jsonl", SPEC_ALPHABET)]
    # In square pixels of the original, beside its exact pixels.
    assert [item.marks for item in objects] == [
        Marks(area=700),
        Marks(iscrowd=True),
        Marks(ignore=True),
    ]
    assert {item.best_geometry.values for item in objects} == {(0, 0, 32, 24)}


def test_image_paths_follow_to_a_folder_above(tmp_path: Path) -> None:
    src = write(tmp_path / "data" / "coco" / "raw.jsonl", {"desc": "a", "line": [0, 0, 1, 1]})
    prepare_file(src, tmp_path / "out.jsonl", TOKENISE)
    assert RecordFile(tmp_path / "out.jsonl", SPEC_ALPHABET)[0].image == "data/coco/img/a.png"


def test_a_folder_from_which_the_images_would_climb_is_refused(tmp_path: Path) -> None:
    src = write(tmp_path / "data" / "raw.jsonl", {"desc": "a", "line": [0, 0, 1, 1]})
    dst = tmp_path / "other" / "out.jsonl"
    with pytest.raises(InputError, match=r"images lie outside its folder, at \.\./data; write to"):
        prepare_file(src, dst, TOKENISE)
    assert not dst.parent.exists()


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    src = write(tmp_path / "raw.jsonl", {"desc": "a", "line": [0, 0, 1, 1]})
    (tmp_path / "alias.jsonl").symlink_to(src)
    before = src.read_text()
    for dst in (src, tmp_path / "alias.jsonl", tmp_path / "." / "raw.jsonl"):
        with pytest.raises(InputError, match="would overwrite"):
            prepare_file(src, dst, TOKENISE)
    assert src.read_text() == before


def test_a_bad_record_leaves_no_file(tmp_path: Path) -> None:
    good: dict[str, object] = {"desc": "a", "line": [0, 0, 1, 1]}
    src = write(tmp_path / "raw.jsonl", good, good, {"desc": "a", "line": [0, 0, 1, 99]})
    with pytest.raises(RecordError) as caught:
        prepare_file(src, tmp_path / "out.jsonl", TOKENISE)
    expected = "objects[0]: line: y = 99 lies outside the image, 0..48 pixels"
    assert str(caught.value) == f"{src}:3: {expected}"
    assert [*tmp_path.iterdir()] == [src]


numbers = st.integers(0, 40) | st.floats(0, 40)
descs = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)
lines = st.lists(numbers, min_size=2, max_size=4).map(lambda half: [*half, *half])


marks = st.fixed_dictionaries(
    {},
    optional={
        "iscrowd": st.sampled_from([0, 1, True]),
        "ignore": st.integers(0, 1),
        "area": st.floats(0, 1e9),
    },
)


@given(st.lists(st.tuples(descs, lines, marks), max_size=4), st.sampled_from([SPEC_ALPHABET, LOC]))
def test_the_bytes_are_those_of_json(
    items: list[tuple[str, list[float], dict[str, float]]], alphabet: CoordAlphabet
) -> None:
    objects = [{"desc": desc, "line": values, **marked} for desc, values, marked in items]
    federated = {"absent": ["dog"], "not_exhaustive": [], "frequency": {"cat": "r"}}
    row = {"images": ["a/ä.png"], "width": 40, "height": 48, "objects": objects}
    row |= {"prompt": "\u00e9", "federated": federated}
    with tempfile.TemporaryDirectory() as folder:
        src, dst = Path(folder) / "raw.jsonl", Path(folder) / "out.jsonl"
        src.write_text(json.dumps(row))
        prepare_file(src, dst, PrepareOptions(alphabet=alphabet))
        expected = record_to_json(tokenise_record(parse_record(row, alphabet), alphabet), alphabet)
        assert dst.read_text() == json.dumps(expected, ensure_ascii=False) + "\n"
