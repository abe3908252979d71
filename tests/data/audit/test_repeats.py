"""Records, pictures and words that stand in several places."""

import json
from pathlib import Path

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.audit.audit import audit_files

Row = dict[str, object]


def row(image: str, *descs: str, **more: object) -> Row:
    objects = [{"desc": desc, "bbox_2d": [k, 0, 20, 20]} for k, desc in enumerate(descs)]
    return {"images": [image], "width": 64, "height": 48, "objects": objects, **more}


def write(path: Path, *lines: Row) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def warned(*paths: Path) -> list[tuple[str, str, int | None, str]]:
    report = audit_files(paths, images=False, alphabet=SPEC_ALPHABET)
    assert report.total("violation") == 0
    return [
        (finding.rule.name, place.file.name, place.line, place.message)
        for finding in report.findings
        for place in finding.places
    ]


def test_a_record_that_stands_twice_is_one_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row("a.png", "cat"), row("b.png"), row("a.png", "cat"))
    assert warned(path) == [("duplicate-record", "a.jsonl", 3, "the same record as line 1")]


def test_a_picture_with_two_records_is_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row("a.png", "cat"), row("b.png"), row("a.png", "dog"))
    assert warned(path) == [
        ("duplicate-image", "a.jsonl", 3, "'a.png' has a record at line 1 already")
    ]


def test_a_picture_may_be_asked_about_in_several_ways(tmp_path: Path) -> None:
    lines = [row("a.png", "cat", prompt=f"question {k}") for k in range(3)]
    path = write(tmp_path / "a.jsonl", *lines, row("a.png", "cat"))
    assert warned(path) == []
    again = write(tmp_path / "b.jsonl", *lines, row("a.png", "dog", prompt="question 1"))
    assert [(rule, line) for rule, _, line, _ in warned(again)] == [("duplicate-image", 4)]


def test_a_picture_in_two_splits_is_warned_of_wherever_the_files_lie(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", row("val/a.png"), row("b.png"))
    val = write(tmp_path / "val" / "val.jsonl", row("c.png"), row("a.png", "cat"))
    assert warned(train, val) == [("shared-image", "val.jsonl", 2, f"'a.png' is also in {train}:1")]


def test_the_same_name_in_two_folders_is_two_pictures(tmp_path: Path) -> None:
    first = write(tmp_path / "one" / "a.jsonl", row("a.png"))
    second = write(tmp_path / "two" / "a.jsonl", row("a.png"))
    assert warned(first, second) == []


def test_a_file_given_twice_shares_all_its_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row("a.png"), row("b.png"))
    again = path.with_name("link.jsonl")
    again.symlink_to(path)
    assert [rule for rule, *_ in warned(path, again)] == ["shared-image"] * 2


def test_descs_that_differ_only_in_case_and_spaces_are_warned_of_at_the_rarest(
    tmp_path: Path,
) -> None:
    first = write(tmp_path / "a.jsonl", row("a.png", "cat", "traffic light", "cat", "dog"))
    second = write(tmp_path / "b.jsonl", row("b.png", "Cat ", "traffic  light", "traffic light"))
    assert sorted(warned(first, second)) == [
        ("desc-variants", "b.jsonl", 1, "the same but for case and spaces: 'cat' (2), 'Cat ' (1)"),
        (
            "desc-variants",
            "b.jsonl",
            1,
            "the same but for case and spaces: 'traffic light' (2), 'traffic  light' (1)",
        ),
    ]
