import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import (
    Geometry,
    Record,
    RecordObject,
    annotate_coord_tokens,
    checked_image_path,
    parse_record,
    record_to_json,
)
from coordexp.errors import RecordError

TOKENS = ["<|coord_1|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]
BOX = {"desc": "cat", "bbox_2d": [1, 2, 3.5, 4]}


def row(**changes: object) -> dict[str, Any]:
    return {"images": ["images/1.png"], "width": 64, "height": 48, "objects": [], **changes}


def with_object(**changes: object) -> dict[str, Any]:
    item = {**BOX, **changes}
    return row(objects=[BOX, {key: value for key, value in item.items() if value is not None}])


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def test_a_record_holds_pixels_as_they_came() -> None:
    record = parse_record(
        row(objects=[BOX], prompt="find", summary="s", metadata={"a": [1]}), SPEC_ALPHABET
    )
    assert record == Record(
        images=("images/1.png",),
        width=64,
        height=48,
        objects=(RecordObject("cat", Geometry("bbox_2d", (1, 2, 3.5, 4), "px")),),
        prompt="find",
        summary="s",
        metadata={"a": [1]},
    )
    assert record.image == "images/1.png"


@pytest.mark.parametrize(
    ("marked", "marks", "is_taught"),
    [
        ({"iscrowd": 1}, Marks(iscrowd=True), False),
        ({"ignore": 1}, Marks(ignore=True), False),
        ({"iscrowd": 0, "ignore": 1}, Marks(iscrowd=False, ignore=True), False),
        ({"iscrowd": 0, "area": 0.5}, Marks(iscrowd=False, area=0.5), True),
        ({"iscrowd": True}, Marks(iscrowd=True), False),
        ({}, Marks(), True),
    ],
)
def test_an_object_says_how_it_counts(
    marked: dict[str, object], marks: Marks, is_taught: bool
) -> None:
    record = parse_record(row(objects=[BOX, {**BOX, **marked}]), SPEC_ALPHABET)
    assert record.objects[1].marks == marks
    assert record.taught == record.objects[: 1 + is_taught]
    assert (
        parse_record(json.loads(json.dumps(record_to_json(record, SPEC_ALPHABET))), SPEC_ALPHABET)
        == record
    )


def test_iscrowd_alone_decides_the_figures_where_it_stands() -> None:
    assert Marks(ignore=True).is_ignored
    assert not Marks(iscrowd=False, ignore=True).is_ignored
    assert Marks(iscrowd=True, ignore=True).is_crowd
    assert not Marks(iscrowd=True, ignore=True).is_ignored


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ({"iscrowd": "0"}, "iscrowd: expected 0 or 1, got '0'"),
        ({"ignore": None}, "ignore: expected 0 or 1, got None"),
        ({"area": -1}, "area: expected square pixels, a finite number from 0 on, got -1"),
        ({"area": math.nan}, "area: expected square pixels, a finite number from 0 on, got nan"),
        ({"area": True}, "area: expected square pixels, a finite number from 0 on, got True"),
    ],
)
def test_marks_are_checked(marked: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(row(objects=[{**BOX, **marked}]), SPEC_ALPHABET)
    assert caught.value.message.startswith(message)
    assert caught.value.obj == 0


def test_a_federated_record_survives_json() -> None:
    federated = {"absent": ["dog"], "not_exhaustive": ["cat"], "frequency": {"cat": "c"}}
    record = parse_record(row(objects=[BOX], federated=federated), SPEC_ALPHABET)
    assert record.federated == Federated(("dog",), ("cat",), {"cat": "c"})
    assert record_to_json(record, SPEC_ALPHABET)["federated"] == federated


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "federated: expected an object of absent, not_exhaustive, frequency, got []"),
        ({"missing": []}, "federated: expected an object of absent"),
        ({"absent": "dog"}, "federated.absent: expected a list of class names, got 'dog'"),
        ({"absent": [3]}, "federated.absent: expected class names, got 3"),
        ({"frequency": {"cat": "x"}}, "federated.frequency: expected one of r, c, f for 'cat'"),
        ({"frequency": ["cat"]}, "federated.frequency: expected an object, got ['cat']"),
    ],
)
def test_a_federated_record_is_checked(value: object, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(row(federated=value), SPEC_ALPHABET)
    assert caught.value.message.startswith(message)


def test_coord_tokens_become_bins_and_keep_their_exact_pixels() -> None:
    item = {"desc": "x", "bbox_2d": TOKENS, "bbox_2d_px": [0.05, 0.1, 0.2, 0.2]}
    (parsed,) = parse_record(row(objects=[item]), SPEC_ALPHABET).objects
    assert parsed.geometry == Geometry("bbox_2d", (1, 2, 3, 4), "bin")
    assert parsed.exact == Geometry("bbox_2d", (0.05, 0.1, 0.2, 0.2), "px")
    assert parsed.best_geometry is parsed.exact


def test_an_image_without_objects_and_null_for_optional_keys_are_valid() -> None:
    record = parse_record(row(prompt=None, summary=None, metadata=None), SPEC_ALPHABET)
    assert record.objects == ()
    assert record_to_json(record, SPEC_ALPHABET) == row()


def test_unknown_keys_are_left_alone() -> None:
    assert (
        parse_record(row(objects=[{**BOX, "score": 1}], source="x"), SPEC_ALPHABET).objects[0].desc
        == "cat"
    )


def test_the_far_edges_are_inside_and_a_bin_box_may_be_flat() -> None:
    parse_record(row(objects=[{"desc": "all", "bbox_2d": [0, 0, 64, 48]}]), SPEC_ALPHABET)
    parse_record(row(objects=[{"desc": "thin", "bbox_2d": [TOKENS[0]] * 4}]), SPEC_ALPHABET)


# Without the one spelling that may be a special token's.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|"), min_size=1)
texts = texts.filter(str.strip)
points = st.tuples(
    st.one_of(st.integers(0, 64), st.floats(0, 64)), st.one_of(st.integers(0, 48), st.floats(0, 48))
)
polygons = st.lists(points, min_size=3, max_size=6).map(lambda pairs: [v for p in pairs for v in p])
geometries = st.one_of(
    polygons.map(lambda values: {"poly": values}),
    polygons.map(lambda values: {"line": values}),
    points.map(lambda pair: {"point_2d": list(pair)}),
    st.integers(0, 999).map(
        lambda k: {"point_2d": [f"<|coord_{k}|>"] * 2, "point_2d_px": [64 * k / 999, 48 * k / 999]}
    ),
    st.lists(st.integers(0, 999), min_size=2, max_size=2).map(
        lambda ks: {"bbox_2d": [f"<|coord_{k}|>" for k in (min(ks), 0, max(ks), 999)]}
    ),
)
records = st.builds(
    row,
    objects=st.lists(st.tuples(texts, geometries).map(lambda t: {"desc": t[0], **t[1]})),
    metadata=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
)


@given(records)
def test_json_and_back_is_the_same_record(data: dict[str, object]) -> None:
    record = parse_record(json.loads(json.dumps(data)), SPEC_ALPHABET)
    again = parse_record(
        json.loads(json.dumps(record_to_json(record, SPEC_ALPHABET))), SPEC_ALPHABET
    )
    assert again == record


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(10**400)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["desc", *GEOMETRY_KINDS, "bbox_2d_px", "point_2d_px", "x"]), inner
        ),
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "images": st.one_of(junk, st.just(["a.png"])),
            "width": st.one_of(junk, st.just(9)),
            "height": st.one_of(junk, st.just(9)),
            "objects": junk,
            "prompt": junk,
            "metadata": junk,
        },
    )
)
def test_any_json_value_is_a_record_or_a_record_error(data: dict[str, object]) -> None:
    with suppress(RecordError):
        parse_record(data, SPEC_ALPHABET)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            with_object(bbox_2d=None),
            "exactly one of bbox_2d, poly, line, point_2d; got none of them",
        ),
        (
            with_object(poly=[0, 0, 1, 1, 2, 2]),
            "exactly one of bbox_2d, poly, line, point_2d; got bbox_2d and",
        ),
        (with_object(bbox_2d=[1, 2, TOKENS[2], 4]), "pixels and coord tokens are mixed"),
        (with_object(bbox_2d=[*TOKENS[:3], "<|coord_1000|>"]), "<|coord_0|> .. <|coord_999|>, got"),
        (with_object(bbox_2d=[*TOKENS[:3], "cat"]), "got 'cat'"),
        (with_object(bbox_2d=[1, 2, 3]), "expected 4 values x1, y1, x2, y2, got 3"),
        (with_object(bbox_2d=[3, 2, 1, 4]), "expected x1 <= x2 and y1 <= y2"),
        (with_object(bbox_2d=[TOKENS[2], TOKENS[1], TOKENS[0], TOKENS[3]]), "expected x1 <= x2"),
        (with_object(bbox_2d=[1, 2, 1, 4]), "the box has no area"),
        (with_object(bbox_2d=[1, 2, 65, 4]), "x = 65 lies outside the image, 0..64 pixels"),
        (with_object(bbox_2d=[1, -0.5, 3, 4]), "y = -0.5 lies outside the image, 0..48 pixels"),
        (with_object(bbox_2d=[1, 2, 10**400, 4]), "lies outside the image"),
        (with_object(bbox_2d=[1, 2, math.nan, 4]), "expected finite numbers, got nan"),
        (with_object(bbox_2d=[1, 2, math.inf, 4]), "expected finite numbers, got inf"),
        (with_object(bbox_2d=[1, 2, True, 4]), "expected numbers in a flat list, got True"),
        (with_object(bbox_2d=[1, 2, None, 4]), "expected numbers in a flat list, got None"),
        (
            with_object(bbox_2d=[[1, 2], [3, 4], 5, 6]),
            "expected numbers in a flat list, got [1, 2]",
        ),
        (with_object(bbox_2d=[nested(900)] * 4), "expected numbers in a flat list, got [[["),
        (with_object(bbox_2d="1 2 3 4"), "expected a flat list of numbers or coord tokens"),
        (with_object(bbox_2d=None, poly=[0, 0, 1, 1, 2]), "an odd number of values (5)"),
        (with_object(bbox_2d=None, poly=[0, 0, 1, 1]), "poly: expected at least 3 points, got 2"),
        (with_object(bbox_2d=None, line=[0, 0]), "line: expected at least 2 points, got 1"),
        (with_object(bbox_2d=None, line=[]), "line: expected at least 2 points, got 0"),
        (with_object(desc=""), "desc: expected text that is not empty, got ''"),
        (with_object(desc=" \n"), "desc: expected text that is not empty"),
        (with_object(desc=7), "desc: expected text that is not empty, got 7"),
        (with_object(desc="a\ud800"), "desc: half of a surrogate pair ('\\ud800') is no text"),
        (with_object(desc="at <|coord_7|>"), "desc: coord tokens belong into a geometry"),
        (with_object(bbox_2d_px=[1, 2, 3, 4]), "stands beside coord tokens only"),
        (with_object(bbox_2d=TOKENS, bbox_2d_px=TOKENS), "expected pixel numbers, got coord"),
        (with_object(bbox_2d=TOKENS, bbox_2d_px=[9, 9, 20, 20]), "differs from bbox_2d by more"),
        (row(objects=[BOX, 5]), "expected an object with desc and a geometry, got 5"),
    ],
)
def test_a_bad_object_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(data, SPEC_ALPHABET)
    assert caught.value.obj == 1
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected a JSON object, got []"),
        (row(objects=None), "objects: expected a list (empty is fine), got None"),
        (row(objects={}), "objects: expected a list"),
        (row(width=0), "width: expected a whole number of pixels 1..1000000, got 0"),
        (row(width=64.0), "width: expected a whole number"),
        (row(width=True), "width: expected a whole number"),
        (row(height="48"), "height: expected a whole number"),
        (row(height=10**400), "height: expected a whole number"),
        (row(images=[]), "images: expected a list with one relative path"),
        (row(images="a.png"), "images: expected a list with one relative path"),
        (row(images=["a.png", "b.png"]), "one image a record for now, got 2"),
        (row(prompt=1), "prompt: expected text, got 1"),
        (row(summary="\udfff"), "summary: half of a surrogate pair"),
        (row(metadata=[]), "metadata: expected an object"),
        (row(metadata={"a": math.inf}), "metadata: cannot be written as JSON"),
        (row(metadata={"a": "\ud800"}), "metadata: cannot be written as JSON"),
        (row(metadata={"a": {1, 2}}), "metadata: cannot be written as JSON"),
        (row(metadata={"a": nested(5000)}), "metadata: cannot be written as JSON"),
    ],
)
def test_a_bad_record_is_refused(data: object, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(data, SPEC_ALPHABET)
    assert caught.value.obj is None
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "C:\\a.png",
        "\\a.png",
        "C:a.png",
        "../a.png",
        "a/../../b",
        "a\\..\\..\\b",
        "",
        "a\0b",
        5,
        None,
        "\udc80.png",
    ],
)
def test_an_image_path_stays_in_the_dataset(path: object) -> None:
    with pytest.raises(RecordError, match=r"^images\[0\]: "):
        checked_image_path(path)


@pytest.mark.parametrize("path", ["a.png", "./a b.png", "ä/ö.jpg", "a..b/c.png"])
def test_ordinary_image_paths_are_fine(path: str) -> None:
    assert checked_image_path(path) == path


def test_annotation_adds_bins_and_tokens_and_changes_nothing_else() -> None:
    data = row(
        objects=[
            {"desc": "a", "bbox_2d": [0, 0, 32, 48], "score": 0.5},
            {"desc": "b", "line": TOKENS, "line_px": [0.06, 0.1, 0.2, 0.2]},
        ],
        source="kept",
    )
    before = json.dumps(data)
    annotated = annotate_coord_tokens(data)
    assert json.dumps(data) == before
    # 32 / 64 * 999 = 499.5, half up
    assert annotated == {
        **data,
        "objects": [
            {
                **data["objects"][0],
                "bbox_2d_coord_ints": [0, 0, 500, 999],
                "bbox_2d_coord_tokens": [
                    "<|coord_0|>",
                    "<|coord_0|>",
                    "<|coord_500|>",
                    "<|coord_999|>",
                ],
            },
            {
                **data["objects"][1],
                "line_coord_ints": [1, 2, 3, 4],
                "line_coord_tokens": TOKENS,
            },
        ],
    }
    assert annotate_coord_tokens(annotated) == annotated


def test_annotation_follows_the_alphabet() -> None:
    loc = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
    data = row(objects=[{"desc": "a", "line": [0, 0, 64, 48]}])
    (item,) = annotate_coord_tokens(data, loc)["objects"]  # type: ignore[misc]
    assert item["line_coord_tokens"] == ["<loc0000>", "<loc0000>", "<loc1023>", "<loc1023>"]


def test_annotation_of_a_bad_record_is_an_error() -> None:
    with pytest.raises(RecordError, match=r"objects\[1\]: "):
        annotate_coord_tokens(with_object(desc=""))
