"""A page of the records that were asked for."""

from pathlib import Path

from typer.testing import CliRunner, Result

from coordexp.cli.app import app


def view(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", "view", *map(str, arguments)])


def test_the_first_records_or_a_sample_are_drawn(tmp_path: Path, scenes: Path) -> None:
    page = tmp_path / "view.html"
    done = view(scenes, "--out", page, "--limit", "2")
    assert done.exit_code == 0
    assert done.stdout == f"page: {page}, 2 of 6 records\n"
    first = page.read_text(encoding="utf-8")
    assert "<h3>line 1: " in first
    assert "<h3>line 2: " in first
    assert "<h3>line 3: " not in first
    view(scenes, "--out", page, "--limit", "2", "--sample", "--seed", "3")
    sample = page.read_text(encoding="utf-8")
    assert sample.count("<article") == 2
    assert sample != first


def test_a_model_says_how_answers_are_written(
    tmp_path: Path, scenes: Path, tiny_base: Path
) -> None:
    page = tmp_path / "view.html"
    view(scenes, "--out", page, "--limit", "1")
    assert "&lt;|coord_" in page.read_text(encoding="utf-8")
    done = view(scenes, "--out", page, "--limit", "1", "--model", tiny_base)
    assert done.exit_code == 0
    assert "&lt;|coord_" not in page.read_text(encoding="utf-8")


def test_labels_can_be_switched_off(tmp_path: Path, scenes: Path) -> None:
    pages = []
    for labels in ("auto", "on", "off"):
        view(scenes, "--out", tmp_path / labels, "--limit", "1", "--labels", labels)
        pages.append((tmp_path / labels).read_text(encoding="utf-8"))
    assert pages[0] == pages[1] != pages[2]
    assert view(scenes, "--out", tmp_path / "x", "--labels", "some").exit_code == 2


def test_a_bad_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")
    done = view(path, "--out", tmp_path / "view.html")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {path}:1: images: expected")
    assert not (tmp_path / "view.html").exists()
