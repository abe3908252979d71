"""A model that learned points answers in points, inside the grammar and free, and is measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.data.contract.geometry import bounding_box
from coordexp.rendering.style import RenderingStyle
from coordexp.scenes.digits import write_scenes
from tests.inference.run.overfitted import write_overfitted

COUNT = 4


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def with_points(path: Path) -> Path:
    """Write the same records with the middle of each box in its place."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for item in (item for row in rows for item in row["objects"]):
        x1, y1, x2, y2 = bounding_box(item.pop("bbox_2d"))
        item["point_2d"] = [(x1 + x2) / 2, (y1 + y2) / 2]
    out = path.with_name("points.jsonl")
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out


@pytest.mark.long
def test_points_go_all_the_way(tmp_path: Path, make_style: Callable[..., RenderingStyle]) -> None:
    boxes = write_scenes(tmp_path, split="train", count=COUNT, seed=0)
    points, model = with_points(boxes), tmp_path / "model"
    run("data", "prepare", points, tmp_path / "coord.jsonl", "--workers", "1")
    write_overfitted(model, tmp_path / "coord.jsonl", make_style(), steps=160)
    for constrain in ("on", "off"):
        out = tmp_path / f"{constrain}.jsonl"
        options = ("--model", model, "--data", points, "--out", out, "--constrain", constrain)
        run("predict", *options)
        told = run("evaluate", out, "--out", tmp_path / constrain)
        assert "points by distance: F1@1% 1.000, F1@2% 1.000, F1@5% 1.000" in told
        metrics: dict[str, Any] = json.loads((tmp_path / constrain / "metrics.json").read_text())
        assert metrics["parse"]["ok_share"] == 1
        assert metrics["bbox"]["AP"] is None
    # The same answers, judged by the boxes that the points are the middles of.
    rows = [json.loads(line) for line in (tmp_path / "on.jsonl").read_text().splitlines()]
    for row, line in zip(rows, boxes.read_text().splitlines(), strict=True):
        row["gt"] = json.loads(line)["objects"]
    judged = tmp_path / "judged.jsonl"
    judged.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "points by what they hit: F1 1.000" in run("evaluate", judged, "--out", tmp_path / "b")
