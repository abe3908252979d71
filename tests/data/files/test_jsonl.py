import gzip
import json
import pickle
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile, parse_json_line, read_rows, write_jsonl
from coordexp.errors import CoordExpError, InputError, RecordError

GOOD = '{"images": ["a.png"], "width": 9, "height": 9, "objects": []}'
BOX = '{"desc": "x", "bbox_2d": [0, 0, 1, 1]}'


def record_line(*objects: str) -> str:
    return GOOD.replace("[]", "[" + ", ".join(objects) + "]")


def file_of(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "val.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_records_are_read_in_any_order(tmp_path: Path) -> None:
    lines = [GOOD.replace("a.png", f"{k}-ä.png") for k in range(5)]
    file = RecordFile(file_of(tmp_path, "\n".join(lines)), SPEC_ALPHABET)
    assert len(file) == 5
    assert file.root == tmp_path
    assert [file[k].image for k in (4, 0, -1)] == ["4-ä.png", "0-ä.png", "4-ä.png"]
    assert [record.image for record in file[1:3]] == ["1-ä.png", "2-ä.png"]
    assert [record.image for record in file] == [f"{k}-ä.png" for k in range(5)]
    with pytest.raises(IndexError):
        file[5]


def test_a_record_file_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    file = RecordFile(file_of(tmp_path, GOOD), SPEC_ALPHABET)
    assert pickle.loads(pickle.dumps(file))[0] == file[0]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD + "\n",
        GOOD + "\r\n",
        GOOD + "\n\n \r\n\n",
        "\ufeff" + GOOD + "\n",
    ],
)
def test_line_ends_blank_tails_and_byte_order_marks_are_fine(tmp_path: Path, content: str) -> None:
    path = file_of(tmp_path, content)
    assert len(RecordFile(path, SPEC_ALPHABET)) == 1
    assert RecordFile(path, SPEC_ALPHABET)[0].image == "a.png"
    assert [number for number, _ in read_rows(path)] == [1]


DEEP = GOOD.replace("[]", "[" * 100_000 + "]" * 100_000)
BAD_LINES = [
    ("", ": a blank line; expected one JSON object a line"),
    ("   ", ": a blank line"),
    ("{'images': 1}", ": not JSON: Expecting property name enclosed in double quotes at column 2"),
    ("{", ": not JSON: "),
    (GOOD[:-1], f": not JSON: Expecting ',' delimiter at column {len(GOOD)}"),
    (GOOD + GOOD, ": not JSON: Extra data at column"),
    ("\0" + GOOD, ": not JSON: "),
    (GOOD.replace("a.png", "a\0.png"), ": not JSON: NUL bytes from column 15; whatever wrote"),
    (GOOD.replace("a.png", "a\t.png"), ": not JSON: Invalid control character"),
    (GOOD.replace("a.png", "a\\u0000.png"), ": images[0]: expected a relative path"),
    ("[1, 2]", ": expected a JSON object, got [1, 2]"),
    ("5", ": expected a JSON object, got 5"),
    (DEEP, ": not a record: nested too deeply"),
    (
        record_line(BOX, BOX.replace("1]", "1e400]")),
        ": objects[1]: bbox_2d: expected finite numbers",
    ),
    (record_line(BOX, BOX.replace("1]", "NaN]")), ": objects[1]: expected finite numbers, got NaN"),
    (record_line(BOX.replace("1]", "-Infinity]")), ": objects[0]: expected finite numbers, got -I"),
    (record_line(BOX.replace("1]", "1" + "0" * 400 + "]")), ": objects[0]: bbox_2d: y = 1000"),
    (
        record_line(BOX.replace("1]", "1" + "0" * 5000 + "]")),
        ": not JSON that can be read: Exceeds",
    ),
    (GOOD.replace("9,", "NaN,", 1), ": expected finite numbers, got NaN"),
    (
        record_line(BOX, BOX.replace("}", ', "bbox_2d": [2, 2, 3, 3]}')),
        ": objects[1]: the key 'bbox_2d' stands twice in one object",
    ),
    (
        record_line(BOX.replace("}", ', "m": [{"a": 1, "a": 2}]}')),
        ": objects[0]: the key 'a' stands twice in one object",
    ),
    (GOOD.replace("{", '{"width": 8, '), ": the key 'width' stands twice in one object"),
    (record_line(BOX, BOX.replace("}", ', "poly": []}')), ": objects[1]: exactly one of"),
    (record_line(BOX.replace('"x"', '"\\ud800"')), ": objects[0]: desc: half of a surrogate pair"),
    (
        record_line(BOX.replace("1]", '"<|coord_1000|>"]')),
        ": objects[0]: bbox_2d: pixels and coord",
    ),
    (GOOD.replace("a.png", "../a.png"), ": images[0]: the path climbs out of the dataset"),
    (GOOD.replace("a.png", "/a.png"), ": images[0]: expected a path relative to the JSONL file"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_is_named_when_it_is_asked_for(tmp_path: Path, line: str, message: str) -> None:
    path = file_of(tmp_path, f"{GOOD}\n{line}\n{GOOD}\n")
    file = RecordFile(path, SPEC_ALPHABET)
    assert file[0] == file[2]
    with pytest.raises(RecordError) as caught:
        file[1]
    assert str(caught.value).startswith(f"{path}:2{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": "\xff"}', "not UTF-8 text: invalid start byte at byte 8"),
        (GOOD.encode("utf-16"), "not UTF-8 text"),
    ],
)
def test_text_that_is_not_utf8_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = RecordFile(file_of(tmp_path, content), SPEC_ALPHABET)
    with pytest.raises(RecordError, match=f"val.jsonl:1: {message}"):
        file[0]


@pytest.mark.parametrize("content", ["", "\n", " \r\n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    path = file_of(tmp_path, content)
    with pytest.raises(InputError, match=r"val\.jsonl: the file is empty"):
        RecordFile(path, SPEC_ALPHABET)
    assert list(read_rows(path)) == []


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    for path in (tmp_path / "none.jsonl", tmp_path, loop):
        with pytest.raises(InputError, match="cannot be read: "):
            RecordFile(path, SPEC_ALPHABET)
        with pytest.raises(InputError, match="cannot be read: "):
            list(read_rows(path))


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, GOOD)
    file = RecordFile(path, SPEC_ALPHABET)
    path.unlink()
    with pytest.raises(InputError, match=r"val\.jsonl: cannot be read: No such file"):
        file[0]


def test_rows_come_with_their_line_and_stop_at_the_first_bad_one(tmp_path: Path) -> None:
    rows = read_rows(file_of(tmp_path, '{"a": 1}\n[]\n\n5\n'))
    assert [next(rows), next(rows)] == [(1, {"a": 1}), (2, [])]
    with pytest.raises(RecordError, match=r"val\.jsonl:3: a blank line"):
        next(rows)
    with pytest.raises(RecordError, match=r"val\.jsonl:2: not JSON: "):
        list(read_rows(file_of(tmp_path, "1\n{\n")))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=10,
)


@given(json_values)
def test_any_json_line_reads_as_python_reads_it(value: object) -> None:
    assert parse_json_line(json.dumps(value).encode()) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_a_record_error(line: bytes) -> None:
    with suppress(RecordError):
        parse_json_line(line)


def test_rows_are_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl"
    rows = [{"a": "ä\u2028\n"}, {"b": [1, 2.5]}]
    assert write_jsonl(path, rows) == 2
    assert path.read_bytes() == '{"a": "ä\u2028\\n"}\n{"b": [1, 2.5]}\n'.encode()
    assert [row for _, row in read_rows(path)] == rows
    assert [*path.parent.iterdir()] == [path]


class StoppedError(Exception):
    pass


def rows_that_stop() -> Iterator[dict[str, object]]:
    yield {"a": 1}
    raise StoppedError


def test_a_failed_write_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = file_of(tmp_path, "before")
    with pytest.raises(StoppedError):
        write_jsonl(path, rows_that_stop())
    for value in (float("nan"), "\ud800"):
        with pytest.raises(InputError, match=r"val\.jsonl: row 2 cannot be written as JSON"):
            write_jsonl(path, [{"a": 1}, {"a": value}])
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    blocker = file_of(tmp_path, "")
    for path in (tmp_path, blocker / "out.jsonl"):
        with pytest.raises(CoordExpError, match="cannot be written: ") as caught:
            write_jsonl(path, [])
        assert caught.value.exit_code == 1


def gzipped(content: str) -> bytes:
    return gzip.compress(content.encode())


@pytest.mark.parametrize("kept", [None, 20])
def test_a_compressed_file_is_refused_whole_or_truncated(tmp_path: Path, kept: int | None) -> None:
    path = file_of(tmp_path, gzipped(f"{GOOD}\n" * 3)[:kept])
    for read in (lambda path: RecordFile(path, SPEC_ALPHABET), lambda path: list(read_rows(path))):
        with pytest.raises(InputError, match="is gzip-compressed; unpack it first"):
            read(path)


def test_a_line_longer_than_any_record_is_refused_before_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(tmp_path, f"{GOOD}\n[{GOOD}, {GOOD}]\n")
    monkeypatch.setattr("coordexp.data.files.jsonl.LONGEST_LINE_BYTES", len(GOOD) + 1)
    for read in (lambda path: RecordFile(path, SPEC_ALPHABET), lambda path: list(read_rows(path))):
        with pytest.raises(
            RecordError, match=r"val\.jsonl:2: the line is longer than 0 MiB; expec"
        ):
            read(path)


@pytest.mark.slow
def test_a_line_of_100_megabytes_is_refused_at_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    with path.open("w") as file:
        file.write("[")
        for _ in range(100):
            file.write((GOOD + ", ") * (2**20 // (len(GOOD) + 2)))
    tracemalloc.start()
    with pytest.raises(RecordError, match=r"val\.jsonl:1: the line is longer than 16 MiB"):
        RecordFile(path, SPEC_ALPHABET)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (GOOD.replace('"width": 9', '"width": -9'), "width: expected a whole number of pixels"),
        (record_line(BOX.replace("1]", "NaN]")), "expected finite numbers, got NaN"),
        (record_line(BOX.replace("1]", "-Infinity]")), "expected finite numbers, got -Infinity"),
        (record_line(BOX.replace("1]", "1e999]")), "expected finite numbers, got inf"),
        (GOOD.replace("a.png", "../../etc/passwd"), "images[0]: the path climbs out"),
        (GOOD.replace("a.png", "a/..\\\\..\\\\b.png"), "images[0]: the path climbs out"),
        (GOOD.replace("a.png", "/etc/passwd"), "images[0]: expected a path relative"),
        (GOOD.replace("a.png", "C:/a.png"), "images[0]: expected a path relative"),
    ],
)
def test_junk_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = RecordFile(file_of(tmp_path, f"{GOOD}\n{line}\n"), SPEC_ALPHABET)
    for read in (lambda: file[1], lambda: [*file]):
        with pytest.raises(RecordError) as caught:
            read()
        assert f"val.jsonl:2: {'objects[0]: ' if 'finite' in message else ''}" in str(caught.value)
        assert message in str(caught.value)


def test_going_through_a_file_is_asking_for_each_of_its_records(tmp_path: Path) -> None:
    mark, lines = "\ufeff", f"{GOOD}\r\n{record_line(BOX)}\r\n\r\n \n"
    file = RecordFile(file_of(tmp_path, mark + lines), SPEC_ALPHABET)
    assert [*file] == [file[0], file[1]]
    assert [file.place_of(index) for index in (0, -1)] == [(file.path, 1), (file.path, 2)]


# Strings with colons, keys in other places, escapes: what the quick way of decoding must not miss.
@given(json_values, st.text(':"{}ab ', max_size=6))
def test_a_doubled_key_is_found_wherever_it_stands(value: object, text: str) -> None:
    inner = json.dumps({"x": value, "y": text})
    objects = f'{{"images": [], "m": {inner}, "objects": [{inner}, {inner}]}}'
    assert parse_json_line(objects.encode()) == json.loads(objects)
    doubled = inner[:-1] + ', "x" : 1}'
    for line in (doubled, objects.replace(inner, doubled, 1), f'{{"objects": [{doubled}]}}'):
        with pytest.raises(RecordError, match="the key 'x' stands twice in one object"):
            parse_json_line(line.encode())
