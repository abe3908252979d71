"""The quick look never passes what the contract refuses, and makes the same of what it passes."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.objects import RecordObject, build_object, object_faults
from coordexp.data.contract.quick_look import QuickLook

WIDTH, HEIGHT = 40, 30
PALIGEMMA = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
LOOK = QuickLook(SPEC_ALPHABET)

pixels = st.one_of(
    st.integers(-1, 41),
    st.floats(-0.5, 41),
    st.sampled_from([math.nan, math.inf, -math.inf, 10**400, True, None, "9", []]),
)
good_pixels = st.one_of(st.integers(0, 30), st.floats(0, 30))
token = st.integers(0, 1000).map(lambda k: f"<|coord_{k}|>")
values = st.one_of(
    st.lists(pixels, max_size=8),
    st.lists(good_pixels, min_size=4, max_size=8),
    st.lists(token, min_size=3, max_size=8),
    st.none(),
)
descs = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["cat", " ", "\ud800", "a <|coord_*|>", "<|coord_7|>", "<|im_end|>", 3, []]),
)
marks = st.fixed_dictionaries(
    {},
    optional={
        "iscrowd": st.sampled_from([0, 1, 2, True, None, "0", 1.0, []]),
        "ignore": st.sampled_from([0, 1, False, -1]),
        "area": st.one_of(st.floats(), st.integers(-1, 9), st.sampled_from([None, True, "9"])),
        "id": st.just(3),
    },
)
objects = st.dictionaries(
    st.sampled_from(["bbox_2d", "poly", "line", "bbox_2d_px", "poly_px", "line_px"]),
    values,
    min_size=1,
    max_size=2,
).flatmap(
    lambda geometry: st.tuples(descs, marks).map(
        lambda pair: {"desc": pair[0], **geometry, **pair[1]}
    )
)


def seen(row: dict[str, object]) -> RecordObject | None:
    return LOOK.good_object(row, WIDTH, HEIGHT)


@given(objects)
def test_an_object_that_passes_at_sight_has_no_fault_and_is_the_same(
    row: dict[str, object],
) -> None:
    item = seen(row)
    if item is not None:
        assert not any(object_faults(row, WIDTH, HEIGHT, SPEC_ALPHABET))
        assert item == build_object(row, SPEC_ALPHABET)


@given(st.tuples(*[st.floats(0, size) for size in (WIDTH, HEIGHT) * 2]), st.integers(-3, 3))
def test_exact_pixels_that_pass_at_sight_agree_with_their_tokens(
    exact: tuple[float, ...], shift: int
) -> None:
    bins = [math.floor(x / size * 999) + shift for x, size in zip(exact, (40, 30) * 2, strict=True)]
    row = {
        "desc": "cat",
        "line": [f"<|coord_{max(0, min(999, k))}|>" for k in bins],
        "line_px": list(exact),
    }
    assert seen(row) is None or not any(object_faults(row, WIDTH, HEIGHT, SPEC_ALPHABET))


def test_ordinary_objects_are_known_at_sight() -> None:
    for row in (
        {"desc": "cat", "bbox_2d": [0, 0.5, 40, 30]},
        {"desc": "cat", "bbox_2d": [0, 0.5, 40, 30], "iscrowd": 1, "area": 4.5},
        {"desc": "Katze für 猫", "poly": [0, 0, 40, 0, 40, 30]},
        {"desc": "cat", "line": ["<|coord_0|>", "<|coord_0|>", "<|coord_0|>", "<|coord_999|>"]},
        {"desc": "cat", "line": ["<|coord_500|>"] * 4, "line_px": [20, 15, 20, 15]},
    ):
        assert seen(json.loads(json.dumps(row))) is not None


def test_an_exact_geometry_that_is_null_is_left_to_the_full_check() -> None:
    assert seen({"desc": "cat", "line": ["<|coord_500|>"] * 4, "line_px": None}) is None


def test_another_alphabet_has_other_tokens() -> None:
    look = QuickLook(PALIGEMMA)
    row = {"desc": "cat", "line": ["<loc0000>", "<loc0000>", "<loc1023>", "<loc1023>"]}
    assert look.good_object(row, WIDTH, HEIGHT) is not None
    assert look.good_object({**row, "desc": "at <loc0007>"}, WIDTH, HEIGHT) is None
