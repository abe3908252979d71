import json
from pathlib import Path

import pytest

from coordexp.inspection.survey.training_curves import rates_set, training_curves


def write_log(path: Path, rows: list[dict[str, float]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    shared = {"loss": 2.0, "base_ce/loss": 1.0}
    integers = [
        {"step": step, **shared, "lr/language": rate, "lr/vision": rate, "coord_diag/enabled": 0.0}
        | {"coord_diag/loss": 0.0}
        for step, rate in ((10, 3e-3), (20, 1e-3))
    ]
    coord = [
        {"step": step, **shared, "lr/language": rate, "lr/coord_embed": rate / 2}
        | {"coord_diag/enabled": 1.0, "coord_diag/loss": 4.0}
        for step, rate in ((10, 3e-3), (20, 1e-3))
    ]
    return {
        "Integers": write_log(tmp_path / "integers.jsonl", integers),
        "Coord tokens": write_log(tmp_path / "coord.jsonl", coord),
    }


def test_a_chart_has_a_line_for_each_training_that_knows_the_figure(logs: dict[str, Path]) -> None:
    charts = {chart.title: chart for chart in training_curves(logs)}
    assert [line.name for line in charts["Total loss"].lines] == ["Integers", "Coord tokens"]
    alone = charts["Coord loss, weighted sum"]
    assert [line.name for line in alone.lines] == ["Coord tokens"]
    assert alone.remark.endswith("; Coord tokens alone")
    assert "alone" not in charts["Total loss"].remark


def test_every_rate_that_was_set_is_drawn_and_named(logs: dict[str, Path]) -> None:
    (chart,) = (chart for chart in training_curves(logs) if chart.title == "Learning rates")
    assert [line.name for line in chart.lines] == [
        "Integers: language, vision; Coord tokens: language",
        "Coord tokens: coord_embed",
    ]


def test_a_training_without_groups_has_one_rate() -> None:
    (series,) = rates_set({"Mine": {"learning_rate": ((1.0, 2.0), (2.0, 1.0))}})
    assert (series.name, series.points) == ("Mine: all", ((1.0, 2.0), (2.0, 1.0)))
