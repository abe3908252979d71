"""The command: exit codes, the table, the page."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from coordexp.cli.app import app
from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.inspection.doctor.doctor import CHECKS
from coordexp.inspection.doctor.verdict import Diagnosis
from tests.inspection.conftest import MakeRun, healthy, make_run
from tests.viewing.chromium import check_page, external_urls

__all__ = ["healthy", "make_run"]  # fixtures


def doctor(config: Path, *arguments: str | Path) -> Result:
    command = ["doctor", "--config", str(config), *map(str, arguments)]
    return CliRunner().invoke(app, command, env={"COLUMNS": "160", "CUDA_VISIBLE_DEVICES": ""})


@pytest.fixture
def examined(healthy: Diagnosis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The configuration of the healthy run, which is not examined a second time."""
    monkeypatch.setattr("coordexp.inspection.doctor.doctor.examine", lambda *_, **__: healthy)
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(healthy.pieces.take(Config)))
    return path


@pytest.mark.slow
def test_a_healthy_run_ends_with_0_and_a_line_for_each_check(examined: Path) -> None:
    done = doctor(examined)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    for check in CHECKS:
        assert any(line.startswith(f" green   {check.name}") for line in lines), check.name
    assert lines[-1] == f"{len(CHECKS)} green, 0 yellow, 0 red"
    assert "<|image_pad|> x 64" in done.stdout
    assert "Who learns, and how fast" in done.stdout


@pytest.mark.slow
def test_the_page_stands_alone_and_shows_everything(examined: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = doctor(examined, "--out", page)
    assert done.stdout.splitlines()[-1] == f"page: {page}"
    html = page.read_text(encoding="utf-8")
    assert external_urls(html) == []
    assert html.count('<span class="verdict green">') == len(CHECKS)
    assert html.count('<article class="sample"') == 6
    assert '<span class="coord">&lt;|coord_' in html
    assert '<span class="end">&lt;|im_end|&gt;</span>' in html


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_reads_well_in_a_browser(examined: Path, tmp_path: Path) -> None:
    doctor(examined, "--out", tmp_path / "page.html")
    check_page(tmp_path / "page.html", tmp_path)


@pytest.mark.slow
def test_a_run_that_would_fail_ends_with_1_and_has_its_page(
    make_run: MakeRun, tiny_base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(make_run(model={"path": str(tiny_base)})))
    done = doctor(path, "--out", tmp_path / "page.html")
    assert done.exit_code == 1
    assert ["red", "tokenizer", "ids"] in [line.split()[:3] for line in done.stdout.splitlines()]
    assert "not looked at, because of: tokenizer ids" in done.stdout
    assert '<span class="verdict red">' in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_every_problem_of_the_configuration_is_told_at_once_with_2(
    make_run: MakeRun, tmp_path: Path
) -> None:
    values = yaml.safe_load(dump_config(make_run()))
    values["training"]["learning_rate"] = -1.0
    values["tuner"]["lora_rnk"] = 3
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    done = doctor(path)
    assert done.exit_code == 2
    assert "2 problem(s)" in done.stderr
    assert "training.learning_rate" in done.stderr
    assert "did you mean 'lora_rank'" in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    assert doctor(tmp_path / "gone.yaml").exit_code == 2
