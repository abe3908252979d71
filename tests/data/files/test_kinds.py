import json
from pathlib import Path

import pytest

from coordexp.data.files import kinds
from coordexp.data.files.kinds import geometry_kinds

BOX = {"desc": "a", "bbox_2d": [0, 0, 1, 1]}
POLY = {"desc": "a", "poly": [0, 0, 1, 1, 0, 1]}
LINE = {"desc": "a", "line": [0, 0, 1, 1]}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def record(*objects: object, **more: object) -> dict[str, object]:
    return {"images": ["a.png"], "width": 9, "height": 9, "objects": list(objects), **more}


def test_the_kinds_of_all_files_come_in_a_fixed_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", record(LINE), record())
    second = write(tmp_path / "b.jsonl", record(POLY, BOX))
    assert geometry_kinds([first]) == ("line",)
    assert geometry_kinds([second]) == ("bbox_2d", "poly")
    assert geometry_kinds([second, first]) == geometry_kinds([first, second])


def test_words_in_other_places_are_no_kinds(tmp_path: Path) -> None:
    said = {"desc": 'a "poly" or "line"', "bbox_2d": [0, 0, 1, 1]}
    path = write(
        tmp_path / "a.jsonl",
        record(said, metadata={"poly": [1], "line": "poly"}),
        record(POLY, prompt="Outline it."),
        {"messages": [{"role": "user", "content": "line"}], "line": 3},
        ["poly"],
    )
    assert geometry_kinds([path]) == ("bbox_2d",)


def test_what_cannot_be_read_is_left_to_those_who_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"poly"\n\xff"line"\n' + json.dumps(record(BOX)).encode())
    assert geometry_kinds([tmp_path / "gone.jsonl", tmp_path, path]) == ("bbox_2d",)


def test_a_file_of_boxes_is_not_parsed_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", *[record(BOX)] * 50)
    parsed = []
    monkeypatch.setattr(kinds, "_kinds_of", lambda line: parsed.append(line) or {"bbox_2d"})
    assert geometry_kinds([path]) == ("bbox_2d",)
    assert len(parsed) == 1
