import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordexp.cli.app import app
from tests.evaluation.conftest import make_random_rows, make_row, write_predictions

BOX = (10, 10, 50, 50)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.output


def test_figures_are_told_and_those_that_cannot_be_measured_too(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", [make_row([("a", BOX)], [("a", BOX, 0.5)])])
    told = [
        f"{tmp_path}: AP 1.000, AP50 1.000, AP75 1.000",
        "best F1 1.000 at score 0.500 (0.500 to 0.500), chosen on these images",
        f"report: {tmp_path / 'report.html'}",
    ]
    assert run(path, "--out", tmp_path) == (0, "\n".join([*told, ""]))
    path = write_predictions(tmp_path / "e.jsonl", [make_row()])
    code, output = run(path, "--out", tmp_path)
    assert (code, "AP -" in output, "best F1" in output) == (0, True, False)


def test_a_best_score_is_told_with_what_it_is_worth_elsewhere(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", make_random_rows(1, images=30))
    code, output = run(path, "--out", tmp_path)
    best = json.loads((tmp_path / "metrics.json").read_text())["score_cuts"]["best_f1"]
    assert code == 0
    assert f"best F1 {best['F1']:.3f} at score {best['score']:.3f} (" in output
    assert f"; {best['F1_unseen']:.3f} with each half cut at the other's score" in output


def test_points_are_told_beside_boxes(tmp_path: Path) -> None:
    row = make_row([("a", BOX)], [])
    row["gt"].append({"desc": "b", "point_2d": [20, 20]})
    row["pred"] = [
        {"desc": "b", "point_2d": [21, 20], "score": 0.5},
        {"desc": "a", "point_2d": [15, 12], "score": 0.5},
    ]
    path = write_predictions(tmp_path / "p.jsonl", [row])
    code, output = run(path, "--out", tmp_path)
    assert code == 0
    assert "points by distance: F1@1% 1.000, F1@2% 1.000, F1@5% 1.000" in output
    assert "points by what they hit: F1 1.000" in output
    page = (tmp_path / "report.html").read_text()
    for said in ("Points F1@2%", "Points inside", "Points by class.", "within 2%"):
        assert said in page
    assert "all 2 predicted objects are points" in page
    (line,) = (tmp_path / "per_image.jsonl").read_text().splitlines()
    assert json.loads(line)["points"] == {"true": 1, "predicted": 2, "right": 2}


def test_every_option_reaches_the_figures(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", make_random_rows(1, images=30))
    options = ["--matching", "exact", "--unknown", "drop", "--intervals", "--compare", path]
    code, output = run(path, "--out", tmp_path, *options, "--fit-calibration", "isotonic")
    assert (code, "+0.000 (+0.000 to +0.000)" in output) == (0, True)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["categories"]["matching"] == "exact"
    assert metrics["categories"]["unknown"] == "drop"
    assert "intervals" in metrics
    assert metrics["calibration"]["applied"]["method"] == "isotonic"
    stored = tmp_path / "calibration.json"
    assert run(path, "--out", tmp_path / "again", "--calibration", stored)[0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(make_row()) + "\n{broken\n", "p.jsonl:2: not JSON"),
        ("", "p.jsonl: the file is empty"),
        ("{}\n", "p.jsonl:1: missing: image, width, height, gt, pred; a line needs"),
        (json.dumps({**make_row(), "gt": None}) + "\n", "p.jsonl:1: gt: missing"),
        (None, "p.jsonl: cannot be read"),
    ],
)
def test_bad_input_is_named_without_a_traceback(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "p.jsonl"
    if content is not None:
        path.write_text(content)
    code, output = run(path, "--out", tmp_path / "out")
    assert code == 2
    assert message in output
    assert not (tmp_path / "out").exists()


def test_a_calibration_is_fitted_or_applied(tmp_path: Path) -> None:
    options = ["--calibration", "c.json", "--fit-calibration", "isotonic"]
    code, output = run("p.jsonl", "--out", tmp_path, *options)
    assert (code, "not both" in output) == (2, True)


def test_coco_files_take_the_place_of_predictions(tmp_path: Path) -> None:
    gt = {
        "images": [{"id": 7, "file_name": "a.png", "width": 99, "height": 99}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 40]}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    dt = [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 40], "score": 0.5}]
    files = {"--coco-gt": tmp_path / "gt.json", "--coco-dt": tmp_path / "dt.json"}
    for path, content in zip(files.values(), (gt, dt), strict=True):
        path.write_text(json.dumps(content))
    given = [word for pair in files.items() for word in pair]
    code, output = run("--out", tmp_path / "out", *given)
    assert (code, "AP 1.000" in output) == (0, True)
    for wrong in (given[:2], given[2:], [*given, "p.jsonl"], []):
        code, output = run("--out", tmp_path / "out", *wrong)
        assert (code, "--coco-gt and" in " ".join(output.split())) == (2, True)
