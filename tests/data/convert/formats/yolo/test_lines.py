from pathlib import Path

import pytest

from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import Converted, convert, write_yolo

PREFER = KeepRules(geometry="prefer-poly")
LEFT_OUT = "noted: a confidence or track number behind the box: left out"


def converted(folder: Path, *lines: str) -> Converted:
    return convert(write_yolo(folder, "\n".join(lines)), folder / "out.jsonl", PREFER, strict=True)


@pytest.mark.parametrize("extra", ["0.93", "1", "0.93 0", "0.5 17", "1 3"])
def test_a_confidence_and_a_track_number_are_left_out(tmp_path: Path, extra: str) -> None:
    done = converted(tmp_path, f"0 0.5 0.5 0.25 0.5 {extra}")
    assert done.things == [[("cat", (24, 12, 40, 36))]]
    assert done.counts == {LEFT_OUT: 1}


@pytest.mark.parametrize(
    "line",
    [
        "0 0.1 0.1 0.5 0.1 0.5 0.5",  # no whole number at its end
        "0 0.2 0.2 0.1 0.8 0.9 1",  # as a box it would leave the picture
        "0 0.5 0.5 0.2 0.2 0 1",  # no confidence is 0
    ],
)
def test_triangles_stay_triangles(tmp_path: Path, line: str) -> None:
    done = converted(tmp_path, line)
    assert len(done.things[0][0][1]) == 6
    assert LEFT_OUT not in done.counts


def test_six_values_among_longer_outlines_are_not_guessed_at(tmp_path: Path) -> None:
    outline = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
    with pytest.raises(InputError, match=r"a.txt:2: six values may be a triangle, or a box"):
        converted(tmp_path, outline, "0 0.5 0.5 0.2 0.2 0.9 1")
    done = converted(tmp_path, outline, "0 0.1 0.1 0.5 0.1 0.5 0.5")
    assert [len(values) for _, values in done.things[0]] == [8, 6]


def test_outlines_that_all_end_in_whole_numbers_are_not_guessed_at(tmp_path: Path) -> None:
    lines = [f"0 0.1 0.1 0.5 0.1 0.5 0.5 0.9{at} {at}" for at in (1, 2, 3)]
    with pytest.raises(InputError, match=r"a.txt:1: ends in a whole number, as all 3 outlines do"):
        converted(tmp_path, *lines)
    whole = "0 0 0 1 0 1 1 0 1"
    assert len(converted(tmp_path, whole, whole, whole).things[0]) == 3


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["0 0.5 0.5 0.2 0.2 45"], "a fifth value that is no confidence"),  # an angle
        (["0 0.5 0.5 0.2 0.2 0.7", "0 0.5 0.5 0.2 0.2 -1.2"], "a fifth value that is no conf"),
        (["0 0.1 0.5 0.5 0.2 0.9"], "a fifth value that is no confidence"),  # no box inside
        (["cat 0.5 0.5 0.2 0.2"], "a line that is not numbers"),
        (["7 0.5 0.5 0.2 0.2", "8 0.5 0.5 0.2 0.2", "0 9 9 9 9"], "a class number without a name"),
        (["0 0.5 0.5 0.2 0.2" + " 0.4 0.4 2" * 17], "a line with neither 4 values nor an outline"),
    ],
)
def test_what_loses_every_object_is_an_error(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=f"every object was dropped\n.*{reason}"):
        converted(tmp_path, *lines)


@pytest.mark.parametrize(
    "line", ["0 50 40 20 16", "0 50 40 20 16 0.9", "0 3 4 5 6 7 8 9 9", "0 0 0 9 9"]
)
def test_pixels_are_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"a.txt:1: coordinates above 2, here and in 1 of 1 lines"):
        converted(tmp_path, line)


def test_class_numbers_from_1_are_told(tmp_path: Path) -> None:
    lines = ("1 0.5 0.5 0.2 0.2", "2 0.5 0.5 0.2 0.2")
    with pytest.raises(InputError, match=r"a.txt:2: class 2, but the names go from 0 to 1, and 0"):
        converted(tmp_path, *lines)


def test_a_broken_line_does_not_hide_what_the_others_mean(tmp_path: Path) -> None:
    lines = [f"0 0.5 0.5 0.2 0.2 0.{at:03}" for at in range(1, 200)]
    src = write_yolo(tmp_path, "\n".join([*lines, "0 0.5 0.5 0.2 0.2 7"]))
    done = convert(src, tmp_path / "out.jsonl")
    assert len(done.things[0]) == 199
