import json
from pathlib import Path

import pytest

from coordexp.errors import CoordExpError, InputError
from coordexp.quickstart import pipeline as run
from coordexp.quickstart.stages import StageRunner


@pytest.mark.slow
def test_the_quickstart_leaves_every_stage_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "short.yaml"
    recipe.write_text(
        f"extends: {json.dumps(run.RECIPE)}\n"
        "training: {max_steps: 2, per_device_train_batch_size: 2, logging_steps: 1}\n"
    )
    monkeypatch.setattr(run, "RECIPE", str(recipe))
    monkeypatch.setattr(run, "TRAIN_SCENES", 4)
    monkeypatch.setattr(run, "HELDOUT_SCENES", 3)
    monkeypatch.setattr(run, "LONGEST_ANSWER", 8)
    out = tmp_path / "quickstart"

    run.run_quickstart(out)

    for side in ("before", "after"):
        lines = (out / side / "predictions.jsonl").read_text().splitlines()
        assert len(lines) == 3
        assert "AP" in json.loads((out / side / "metrics.json").read_text())["bbox"]
    log = [
        json.loads(line)
        for line in (out / "after/checkpoint/train_log.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in log if "coord_diag/w1" in row] == [1, 2]
    page = (out / "report.html").read_text()
    assert "coordexp merge" in page
    assert "Soft cross-entropy" in page
    assert str(out / "report.html") in capsys.readouterr().out.replace("\n", "")

    # A second run replaces the first.
    (out / "left_over").touch()
    run._make_room(out)
    assert not (out / "left_over").exists()


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no quickstart"):
        run._make_room(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.slow
def test_a_stage_that_fails_stops_the_run_and_names_itself(
    capfd: pytest.CaptureFixture[str],
) -> None:
    runner = StageRunner(run.Console())
    with pytest.raises(CoordExpError, match="'train' failed with exit code 2"):
        runner.run("train", ["train", "--config", "nowhere.yaml"])
    assert "nowhere.yaml: cannot be read" in capfd.readouterr().err
    assert runner.stages == []
