import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.prepare.selection import Selection, seats_of, tiny_lines
from coordexp.errors import InputError, RecordError


def row_of(*descs: str) -> dict[str, object]:
    objects = [{"desc": desc, "line": [0, 0, 1, 1]} for desc in descs]
    return {"images": ["a.png"], "width": 9, "height": 9, "objects": objects}


def record_of(*descs: str) -> Record:
    return parse_record(row_of(*descs), SPEC_ALPHABET)


def write(path: Path, *scenes: tuple[str, ...]) -> Path:
    path.write_text("".join(json.dumps(row_of(*scene)) + "\n" for scene in scenes))
    return path


def tiny(path: Path, **wishes: int) -> list[int]:
    lines = tiny_lines(path, Selection(**wishes), SPEC_ALPHABET, drop_bad=False)
    assert lines is not None
    return sorted(lines)


def test_a_record_with_too_many_objects_is_left_out_whole() -> None:
    selection = Selection(max_objects=2)
    assert selection.reason_against(record_of("a", "b")) is None
    assert selection.reason_against(record_of("a", "b", "c")) == "more than 2 objects"


def test_many_objects_of_one_desc_are_of_low_diversity() -> None:
    selection = Selection(low_diversity=3)
    assert selection.reason_against(record_of("a", "a")) is None
    assert selection.reason_against(record_of("a", "a", "b")) is None
    assert selection.reason_against(record_of("a", "a", "a")) == (
        "3 or more objects, all of one desc"
    )


def test_what_is_not_taught_does_not_count() -> None:
    row: Any = row_of("a", "a", "b")
    row["objects"][2]["iscrowd"] = 1
    record = parse_record(row, SPEC_ALPHABET)
    assert Selection(max_objects=2).reason_against(record) is None
    assert Selection(low_diversity=2).reason_against(record) is not None


@pytest.mark.parametrize("wish", [{"max_objects": 0}, {"low_diversity": 1}, {"tiny": 0}])
def test_wishes_that_would_keep_nothing_are_refused(wish: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected at least"):
        Selection(**wish)


sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1)


@given(sizes, st.integers(1, 200))
def test_seats_go_to_every_stratum_as_long_as_they_last(sizes: dict[str, int], seats: int) -> None:
    given = seats_of(sizes, seats)
    total = sum(sizes.values())
    assert sum(given.values()) == min(seats, total)
    assert all(0 <= given[name] <= size for name, size in sizes.items())
    if seats >= len(sizes):
        assert min(given.values()) >= 1
    larger = sorted(sizes, key=lambda name: sizes[name])
    if seats >= len(sizes):
        assert all(given[a] <= given[b] + 1 for a, b in pairwise(larger))


def test_the_tiny_sample_holds_every_desc(tmp_path: Path) -> None:
    common = [("cat",)] * 60 + [("cat", "dog")] * 20
    path = write(tmp_path / "a.jsonl", *common, ("cat", "yak"), ())
    lines = tiny(path, tiny=10)
    assert len(lines) == 10
    assert {81, 82} < set(lines)  # the only yak, and the only empty picture
    kinds = Counter("dog" if line > 60 else "cat" for line in lines if line <= 80)
    assert kinds == {"cat": 6, "dog": 2}


def test_the_sample_follows_from_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[("cat",)] * 50)
    assert tiny(path, tiny=5) == tiny(path, tiny=5) != tiny(path, tiny=5, seed=1)
    assert tiny(path, tiny=99) == list(range(1, 51))


def test_the_sample_is_drawn_from_what_passes_the_filters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[("cat", "dog", "cow"), ("cat",)] * 4)
    assert tiny(path, tiny=8, max_objects=2) == [2, 4, 6, 8]


def test_a_broken_record_stops_the_sample_or_is_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ("cat",), ("cat",))
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(RecordError, match=r"a\.jsonl:3: images"):
        tiny(path, tiny=3)
    assert tiny_lines(path, Selection(tiny=3), SPEC_ALPHABET, drop_bad=True) == {1, 2}
    assert tiny_lines(path, Selection(), SPEC_ALPHABET, drop_bad=False) is None
