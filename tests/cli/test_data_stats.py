"""Figures on the terminal, plots on request."""

from pathlib import Path

from typer.testing import CliRunner, Result

from coordexp.cli.app import app


def stats(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", "stats", *map(str, arguments)])


def test_the_terminal_gets_tables_and_the_page_only_where_asked(
    tmp_path: Path, scenes: Path, tiny_expanded: Path
) -> None:
    done = stats(scenes, "--model", tiny_expanded)
    assert done.exit_code == 0
    assert done.stdout.startswith("6 records; no limit is set (training.global_max_length)\n")
    for word in ("p50", "p95", "p99", "filled", "small", "different descs"):
        assert word in done.stdout
    page = tmp_path / "stats.html"
    assert stats(scenes, "--model", tiny_expanded, "--out", page).exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_questions_name_is_counted(tmp_path: Path, scenes: Path, tiny_expanded: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {{path: {tiny_expanded}}}\ntraining: {{output_dir: {tmp_path / 'out'}}}\n"
        f"data: {{train: {scenes}}}\ncustom: {{class_list: {{}}}}\n",
        encoding="utf-8",
    )
    page = tmp_path / "stats.html"
    done = stats(scenes, "--config", config, "--out", page)
    assert done.exit_code == 0
    for words in ("with the longest list of classes", "asked for absent classes alone"):
        assert words in " ".join(done.stdout.split())
    assert "Classes asked for" in page.read_text(encoding="utf-8")


def test_somebody_must_say_whose_tokens(scenes: Path) -> None:
    done = stats(scenes)
    assert done.exit_code == 2
    assert done.stderr == "error: whose tokens? give either --config X.yaml or --model PATH\n"
