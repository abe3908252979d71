"""The quick look never passes what the contract refuses."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.audit.fast_path import Sight
from coordexp.data.contract.record import parse_record

WIDTH, HEIGHT = 40, 30
PALIGEMMA = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)

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
    st.text(max_size=5), st.sampled_from(["cat", " ", "\ud800", "a <|coord_*|>", "<|coord_7|>", 3])
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


@given(objects)
def test_an_object_that_passes_at_sight_is_what_the_contract_reads(row: dict[str, object]) -> None:
    item = Sight(SPEC_ALPHABET).sighted(row, WIDTH, HEIGHT)
    if item is not None:
        record = {"images": ["a"], "width": WIDTH, "height": HEIGHT, "objects": [row]}
        (parsed,) = parse_record(record).objects
        assert (parsed.desc, parsed.geometry.kind) == (item.desc, item.kind)
        assert parsed.geometry.values == item.values
        assert (parsed.geometry.unit == "bin") == item.is_bins
        assert parsed.marks.is_taught == item.is_taught


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
    if Sight(SPEC_ALPHABET).sighted(row, WIDTH, HEIGHT) is not None:
        parse_record({"images": ["a"], "width": WIDTH, "height": HEIGHT, "objects": [row]})


frames = st.fixed_dictionaries(
    {
        "images": st.one_of(
            st.lists(st.text("ab./\\:~ \0é\ud800", max_size=6), max_size=2), st.none()
        ),
        "width": st.sampled_from([0, 1, 40, 10**6, 10**6 + 1, 4.0, True, None, "4"]),
        "height": st.sampled_from([1, 30, -1]),
        "objects": st.sampled_from([[], None, {}]),
    },
    optional={"prompt": st.sampled_from([None, "?", 3]), "metadata": st.sampled_from([{}, 3])},
)


@given(frames)
def test_a_frame_that_passes_at_sight_is_what_the_contract_reads(row: dict[str, object]) -> None:
    frame = Sight(SPEC_ALPHABET).frame(row)
    if frame is not None:
        record = parse_record(row)
        assert (record.image, record.width, record.height) == frame[:3]


def test_ordinary_objects_are_known_at_sight() -> None:
    sight = Sight(SPEC_ALPHABET)
    for row in (
        {"desc": "cat", "bbox_2d": [0, 0.5, 40, 30]},
        {"desc": "Katze für 猫", "poly": [0, 0, 40, 0, 40, 30]},
        {"desc": "cat", "line": ["<|coord_0|>", "<|coord_0|>", "<|coord_0|>", "<|coord_999|>"]},
        {"desc": "cat", "line": ["<|coord_500|>"] * 4, "line_px": [20, 15, 20, 15]},
    ):
        assert sight.sighted(json.loads(json.dumps(row)), WIDTH, HEIGHT) is not None
    assert sight.frame({"images": ["a/b c.jpg"], "width": 1, "height": 1, "objects": []})


def test_another_alphabet_has_other_tokens() -> None:
    sight = Sight(PALIGEMMA)
    row = {"desc": "cat", "line": ["<loc0000>", "<loc0000>", "<loc1023>", "<loc1023>"]}
    assert sight.sighted(row, WIDTH, HEIGHT) is not None
    assert sight.sighted({**row, "desc": "at <loc0007>"}, WIDTH, HEIGHT) is None
