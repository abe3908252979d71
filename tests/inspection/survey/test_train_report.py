"""A run's page says what its log says, and what is missing in it."""

import html
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.errors import InputError
from coordexp.inspection.survey.train_report import train_report, write_train_report
from tests.evaluation.conftest import SIZE, make_row, write_predictions
from tests.viewing.chromium import check_page

CAT = ("cat", (10, 20, 90, 80))


def run_with(folder: Path, rows: list[dict[str, float]]) -> Path:
    run = folder / "first"
    run.mkdir()
    (run / "train_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def training_rows(steps: int = 3, *, enabled: float = 1.0) -> list[dict[str, float]]:
    return [
        {
            "step": 10 * k,
            "loss": 3.0 / k,
            "base_ce/loss": 1.0 / k,
            "coord_diag/enabled": enabled,
            "coord_diag/loss": 2.0 * enabled / k,
            "lr/language": 1e-3,
            "grad_norm/language": 0.5,
            "speed/step_seconds": 0.25,
            "speed/peak_memory_gb": 1.5,
        }
        for k in range(1, steps + 1)
    ]


def box_rows(*aps: float) -> list[dict[str, float]]:
    return [{"step": 10 * k, "eval_detection/AP": ap} for k, ap in enumerate(aps, start=1)]


def titles(run: Path) -> list[str]:
    page = html.unescape(train_report(run).render())
    return re.findall(r'<figure class="chart"><figcaption>(.*?)(?:<small>|</figcaption>)', page)


def test_what_was_logged_is_drawn(tmp_path: Path) -> None:
    held_out = [{"step": 30, "eval_loss": 1.25, "eval_base_ce/loss": 0.5}]
    run = run_with(tmp_path, [*training_rows(), *box_rows(0.25, 0.75, 0.5), *held_out])
    assert titles(run) == [
        *("Text cross-entropy", "Coord loss, weighted sum", "Total loss", "Learning rates"),
        *("Average precision", "Gradient norms", "Peak memory", "Seconds of a step"),
    ]
    page = train_report(run).render()
    assert "Training of first" in page
    assert ">0.750<small>highest, at step 20<" in page
    assert ">1.250<small>lowest, at step 30<" in page
    assert ">held out</span>" in page
    assert ">1.50 GB<" in page


def test_a_baseline_has_no_curves_of_zeros(tmp_path: Path) -> None:
    held_out = [{f"eval_{key}": v for key, v in row.items()} for row in training_rows(enabled=0.0)]
    rows = [{**row, "step": row["eval_step"]} for row in held_out]
    found = titles(run_with(tmp_path, [*training_rows(enabled=0.0), *rows]))
    assert "Text cross-entropy" in found
    assert not [title for title in found if "Coord" in title]


def test_without_boxes_it_says_what_would_make_some(tmp_path: Path) -> None:
    page = train_report(run_with(tmp_path, training_rows())).render()
    assert "No checkpoint was asked for boxes; training.detection_eval.steps does that." in page


def test_examples_are_those_of_the_best_step(tmp_path: Path) -> None:
    run = run_with(tmp_path, [*training_rows(), *box_rows(0.75, 0.5)])
    for step, desc in ((10, "cat"), (20, "dog")):
        folder = run / "detection" / f"step-{step}"
        folder.mkdir(parents=True)
        row = make_row([CAT], [(desc, CAT[1], 0.5)], image="1.png")
        write_predictions(folder / "predictions.jsonl", [row])
        Image.new("RGB", SIZE).save(folder / "1.png")
        (folder / "detection.json").write_text(json.dumps({"step": step, "figures": {}}))
    assert "the checkpoint of step-20" in train_report(run).render()
    (run / "best").mkdir()
    (run / "best" / "detection.json").write_text(json.dumps({"step": 10, "figures": {}}))
    page = train_report(run).render()
    assert "The first 1 records that the checkpoint of step-10 was asked about." in page
    assert page.count("data:image/webp") == 1


def test_a_run_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there; expected the output_dir of a coordexp train"):
        train_report(tmp_path)
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert (done.exit_code, "train_log.jsonl: not there" in done.output) == (2, True)


def test_the_command_says_where_the_page_is(tmp_path: Path) -> None:
    run = run_with(tmp_path, training_rows())
    done = CliRunner().invoke(app, ["report", str(run)])
    assert (done.exit_code, done.stdout) == (0, f"report: {run / 'train_report.html'}\n")
    assert (run / "train_report.html").is_file()


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_reads_well(tmp_path: Path) -> None:
    run = run_with(tmp_path, [*training_rows(), *box_rows(0.25, 0.75)])
    check_page(write_train_report(run), tmp_path)
