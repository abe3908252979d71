"""Every fault that is planted is found, named and placed; nothing is found in good files."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.audit.audit import audit_files
from coordexp.data.audit.findings import AuditReport
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.prepare import prepare_file
from coordexp.errors import InputError

Row = dict[str, object]
CAT: Row = {"desc": "cat", "bbox_2d": [1, 2, 3, 4]}


def row(*objects: object, **changes: object) -> Row:
    good: Row = {"images": ["a.png"], "width": 64, "height": 48, "objects": list(objects)}
    return {key: value for key, value in (good | changes).items() if value is not ...}


def tokens(*bins: int) -> list[str]:
    return [f"<|coord_{k}|>" for k in bins]


def write(path: Path, *lines: Row | str) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


def audit(path: Path, *lines: Row | str) -> AuditReport:
    return audit_files([write(path / "a.jsonl", *lines)], images=False, alphabet=SPEC_ALPHABET)


def found(
    report: AuditReport, *, warnings: bool = False
) -> list[tuple[str, int | None, int | None]]:
    """Return rule, line and object of everything found, in the order of the file."""
    places = [
        (finding.rule.name, place.line, place.obj)
        for finding in report.findings
        if warnings or finding.rule.severity == "violation"
        for place in finding.places
    ]
    return sorted(places, key=lambda item: (item[1] or 0, -1 if item[2] is None else item[2]))


PLANTED: dict[str, Row | str] = {
    "not-json": "{nope",
    "not-a-record": "[1]",
    "doubled-key": '{"images": ["a.png"], "width": 9, "width": 8, "height": 9, "objects": []}',
    "images": row(images=[]),
    "image-path": row(images=["../a.png"]),
    "size": row(width=0),
    "objects": row(objects={}),
    "text": row(prompt=3),
    "metadata": row(metadata=[1]),
}
PLANTED_OBJECTS: dict[str, object] = {
    "not-an-object": 5,
    "desc": {"desc": " ", "line": [1, 2, 3, 4]},
    "desc-coord-token": {"desc": "at <|coord_5|>", "line": [1, 2, 3, 4]},
    "one-geometry": {"desc": "cat"},
    "flat-list": {"desc": "cat", "poly": [[0, 0], [9, 0], [9, 9]]},
    "mixed-units": {"desc": "cat", "bbox_2d": [1, 2, "<|coord_3|>", 4]},
    "points": {"desc": "cat", "line": [1, 2, 3]},
    "coord-token": {"desc": "cat", "line": tokens(0, 0, 9, 1000)},
    "not-finite": {"desc": "cat", "bbox_2d": [1, 2, 3, math.nan]},
    "outside-image": {"desc": "cat", "bbox_2d": [1, 2, 64.5, 4]},
    "corner-order": {"desc": "cat", "bbox_2d": [30, 20, 10, 12]},
    "no-area": {"desc": "cat", "bbox_2d": [1, 2, 1, 4]},
    "exact-pixels": {"desc": "cat", "line": tokens(0, 0, 9, 9), "line_px": [0, 0, 9, 9]},
}


@pytest.mark.parametrize("rule", PLANTED)
def test_a_fault_of_a_record_is_named_and_placed(tmp_path: Path, rule: str) -> None:
    report = audit(tmp_path, row(CAT), PLANTED[rule], row(images=["b.png"]))
    assert found(report) == [(rule, 2, None)]
    assert report.findings[0].rule.fix


@pytest.mark.parametrize("rule", PLANTED_OBJECTS)
def test_a_fault_of_an_object_is_named_and_placed(tmp_path: Path, rule: str) -> None:
    report = audit(tmp_path, row(), row(CAT, PLANTED_OBJECTS[rule], images=["b.png"]))
    assert found(report) == [(rule, 2, 1)]


def test_all_faults_of_all_lines_are_counted_however_many_stand_in_one_record(
    tmp_path: Path,
) -> None:
    bad = row(CAT, *PLANTED_OBJECTS.values(), width=64, prompt=3, metadata=[1])
    report = audit(tmp_path, bad, row(CAT, images=["b.png"]), bad, "{nope")
    once = sorted([*PLANTED_OBJECTS, "text", "metadata"])
    assert sorted(name for name, line, _ in found(report) if line == 1) == once
    assert sorted(name for name, line, _ in found(report) if line == 3) == once
    assert found(report)[-1] == ("not-json", 4, None)
    assert report.total("violation") == 2 * len(once) + 1


def test_one_fault_of_a_box_does_not_hide_the_other(tmp_path: Path) -> None:
    report = audit(tmp_path, row({"desc": "", "bbox_2d": [70, -1, 3, math.inf]}))
    names = [name for name, _, _ in found(report)]
    assert sorted(names) == ["corner-order", "desc", "not-finite", "outside-image"]
    messages = [str(item.places[0]) for item in report.findings]
    assert any("x = 70, y = -1 outside the image of 64 x 48 pixels" in text for text in messages)


def test_pixels_of_a_record_without_a_size_are_checked_as_far_as_they_can_be(
    tmp_path: Path,
) -> None:
    boxes = [{"desc": "cat", "bbox_2d": [-1, 2, 900, 4]}, {"desc": "cat", "bbox_2d": [5, 2, 3, 4]}]
    report = audit(tmp_path, row(*boxes, width=...))
    assert found(report) == [("size", 1, None), ("outside-image", 1, 0), ("corner-order", 1, 1)]


def test_a_number_that_is_not_finite_is_found_outside_of_geometries_too(tmp_path: Path) -> None:
    report = audit(tmp_path, row(CAT, metadata={"loss": math.nan}))
    assert {name for name, _, _ in found(report)} == {"metadata", "not-finite"}
    assert found(audit(tmp_path, row(CAT, extra=math.nan))) == [("not-finite", 1, None)]


def test_blank_lines_are_faults_between_records_and_nowhere_else(tmp_path: Path) -> None:
    report = audit(tmp_path, row(CAT), "", " ", row(CAT, images=["b.png"]), "", "")
    assert found(report) == [("blank-line", 2, None), ("blank-line", 3, None)]


def test_an_empty_file_is_a_fault_without_a_line(tmp_path: Path) -> None:
    report = audit(tmp_path)
    assert found(report) == [("empty-file", None, None)]
    assert str(report.findings[0].places[0]).startswith(f"{tmp_path / 'a.jsonl'}: expected")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl: cannot be read: No such file"):
        audit_files([tmp_path / "gone.jsonl"], images=False, alphabet=SPEC_ALPHABET)


def test_nothing_is_found_in_pixel_records_nor_in_what_they_are_prepared_to(
    tmp_path: Path,
) -> None:
    lines = [
        row(
            {"desc": f"thing {k}", "bbox_2d": [k, k + 0.5, k + 9.25, 40]},
            {"desc": "Stuhl für 猫", "poly": [0, 0, 9.5, 0, 9, 9 + k]},
            {"desc": "leash", "line": [0, 0, 64, 48]},
            images=[f"images/größe {k}.png"],
            metadata={"id": k},
            prompt="where?",
        )
        for k in range(20)
    ]
    source = write(tmp_path / "px.jsonl", *lines)
    prepare_file(source, tmp_path / "tokens.jsonl", PrepareOptions(alphabet=SPEC_ALPHABET))
    for name in ("px.jsonl", "tokens.jsonl"):
        report = audit_files([tmp_path / name], images=False, alphabet=SPEC_ALPHABET)
        assert report.findings == []
        assert (report.files[0].records, report.files[0].objects) == (20, 60)


def test_a_missing_wrong_or_broken_picture_is_a_fault_of_every_record_that_names_it(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "outside").symlink_to(Path("/"))
    lines = [
        row(),
        row(images=["gone.png"], prompt="?"),
        row(images=["gone.png"]),
        row(images=["broken.png"]),
        row(images=["outside/etc/hostname"]),
        row(width=48, height=64),
    ]
    path = write(tmp_path / "a.jsonl", *lines)
    report = audit_files([path], images=True, alphabet=SPEC_ALPHABET)
    assert found(report) == [
        ("image-missing", 2, None),
        ("image-missing", 3, None),
        ("image-unreadable", 4, None),
        ("image-path", 5, None),
        ("image-size", 6, None),
    ]
    assert report.files[0].images_checked == 5
    assert found(audit_files([path], images=False, alphabet=SPEC_ALPHABET)) == []


def test_the_size_of_a_picture_is_that_of_the_upright_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 64)).save(tmp_path / "a.jpg", exif=exif)
    good, lying = row(images=["a.jpg"]), row(images=["a.jpg"], width=48, height=64, prompt="?")
    report = audit_files(
        [write(tmp_path / "a.jsonl", good, lying)], images=True, alphabet=SPEC_ALPHABET
    )
    assert found(report) == [("image-size", 2, None)]
    assert "EXIF" in report.findings[0].places[0].message


def test_the_report_is_json_with_every_place(tmp_path: Path) -> None:
    report = audit(tmp_path, *[row(5, images=[f"{k}.png"]) for k in range(7)])
    data = json.loads(json.dumps(report.to_json()))
    assert (data["violations"], data["warnings"]) == (7, 0)
    (finding,) = data["findings"]
    assert finding["rule"] == "not-an-object"
    assert finding["places_left_out"] == 0
    assert [place["line"] for place in finding["places"]] == [1, 2, 3, 4, 5, 6, 7]
    assert data["files"][0]["records"] == 7
    assert set(finding["places"][0]) == {"file", "line", "object", "message"}


def test_beyond_a_bound_places_are_counted_and_no_longer_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordexp.data.audit.findings.MOST_PLACES", 3)
    report = audit(tmp_path, *[row(5, images=[f"{k}.png"]) for k in range(7)])
    assert report.total("violation") == 7
    assert len(report.findings[0].places) == 3
    assert report.to_json()["findings"][0]["places_left_out"] == 4  # type: ignore[index]


def test_a_resized_picture_has_the_size_that_prepare_wrote(tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    lines = [row(CAT, resized=[32, 24]), row(CAT, resized=[64, 48], prompt="?")]
    report = audit_files([write(tmp_path / "a.jsonl", *lines)], images=True, alphabet=SPEC_ALPHABET)
    assert found(report) == [("image-size", 2, None)]
    assert found(audit(tmp_path, row(CAT, resized=[32]))) == [("resized", 1, None)]


def test_broken_marks_and_searches_are_listed_all_at_once(tmp_path: Path) -> None:
    broken = {**CAT, "iscrowd": "0", "ignore": 2, "area": None}
    fine = {**CAT, "iscrowd": 1, "ignore": 0, "area": 4.5}
    federated = {"absent": [], "not_exhaustive": ["cat"], "frequency": {"cat": "f"}}
    report = audit(tmp_path, row(broken), row(fine, federated=federated), row(federated={"a": 1}))
    places = [("marks", 1, 0)] * 3 + [("federated", 3, None)]
    assert sorted(found(report)) == sorted(places)


def test_chats_are_checked_among_records(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "chat.png")
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    lines: list[Row] = [
        {"messages": turns, "images": ["chat.png"]},
        {"messages": turns[:1]},
        {"messages": turns, "images": ["gone.png"]},
        {"messages": turns, "images": ["chat.png"]},
    ]
    report = audit_files([write(tmp_path / "a.jsonl", *lines)], images=True, alphabet=SPEC_ALPHABET)
    expected = [("chat", 2, None), ("image-missing", 3, None), ("duplicate-record", 4, None)]
    assert found(report, warnings=True) == expected


def test_a_dataset_in_one_json_array_is_one_fault_and_compressed_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordexp.data.files.jsonl.LONGEST_LINE_BYTES", 2000)
    report = audit(tmp_path, row(CAT), json.dumps([row(CAT)] * 100))
    assert found(report) == [("long-line", 2, None)]
    (tmp_path / "b.jsonl").write_bytes(b"\x1f\x8b\x08\0")
    with pytest.raises(InputError, match="gunzip"):
        audit_files([tmp_path / "b.jsonl"], images=False, alphabet=SPEC_ALPHABET)
