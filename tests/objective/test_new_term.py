"""One module and one entry of the list make a term: trained, logged, examined and drawn."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import NonNegativeFloat

from coordexp.config.custom import CoordSoftCEW1
from coordexp.config.schema import Config
from coordexp.inspection.doctor.doctor import examine
from coordexp.objective import CoordWeights
from coordexp.objective.terms import TERMS
from coordexp.quickstart.report import write_quickstart_report
from coordexp.training.run.stage1 import train
from coordexp.training.watch.progress import row_words
from tests.objective.fused_cases import WEIGHTS, assert_equal, random_case
from tests.objective.huber import HUBER
from tests.quickstart.fake_run import write_fake_run
from tests.training.conftest import BLOCKS

STEPS = 4


class _Block(CoordSoftCEW1):
    """The configuration with one key more."""

    huber_weight: NonNegativeFloat = 0.0


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    TERMS.append(HUBER)
    yield
    TERMS.remove(HUBER)


def config_with_huber(base: Path, records: Path, output_dir: Path) -> Config:
    training = {**BLOCKS["training"], "output_dir": str(output_dir), "max_steps": STEPS}
    blocks = {
        **BLOCKS,
        "model": {**BLOCKS["model"], "path": str(base)},
        "data": {"train": str(records)},
        "training": training,
    }
    config = Config.model_validate_json(json.dumps(blocks))
    block = _Block(enabled=True, huber_weight=0.25)
    custom = config.custom.model_copy(update={"coord_soft_ce_w1": block})
    return config.model_copy(update={"custom": custom})


def test_the_backends_agree_on_it() -> None:
    weights = CoordWeights(**{**WEIGHTS, "huber": 0.8})
    case = replace(random_case(), weights=weights)
    expected = case.run("reference", trainable_head=True)
    assert expected.output.sums["huber"] > 0
    assert_equal(case.run("fused", trainable_head=True), expected, 1e-12)
    without = replace(case, weights=WEIGHTS).run("fused")
    torch.testing.assert_close(without.output.sums["huber"], expected.output.sums["huber"])
    assert not torch.equal(without.gradients["hidden"], expected.gradients["hidden"])


def test_the_kernels_leave_it_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = pytest.importorskip("coordexp.objective.backends.triton.solver", exc_type=ImportError)
    monkeypatch.setattr(solver.triton.knobs.runtime, "interpret", True)
    case = replace(random_case(), weights=CoordWeights(**{**WEIGHTS, "huber": 0.8}))
    assert_equal(case.run("triton"), case.run("reference"), 1e-12)


def test_the_progress_bar_shows_it() -> None:
    assert row_words({"coord_diag/huber": 0.25}) == "Huber 0.25"


@pytest.mark.slow
def test_it_trains_and_is_in_log_doctor_and_report(
    tiny_expanded: Path, scenes: Path, tmp_path: Path
) -> None:
    config = config_with_huber(tiny_expanded, scenes, tmp_path / "run")
    (sheet,) = examine(config).findings["loss"].sheets
    assert [row[0] for row in sheet.rows] == ["text", "ce", "soft_ce", "w1", "gate", "huber"]
    assert sheet.rows[-1][2] == "0.25"

    log = train(config) / "train_log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    logged = [row for row in rows if "coord_diag/huber" in row]
    assert len(logged) == STEPS
    assert logged[-1]["coord_diag/huber"] < logged[0]["coord_diag/huber"]
    for row in logged:
        parts = [row[term.metric] for term in TERMS[1:-1]] + [0.25 * row["coord_diag/huber"]]
        assert row["coord_diag/loss"] == pytest.approx(sum(parts), rel=1e-6)

    inputs = write_fake_run(tmp_path)
    inputs = replace(inputs, coord=replace(inputs.coord, train_log=log))
    write_quickstart_report(tmp_path / "report.html", inputs)
    assert HUBER.title in (tmp_path / "report.html").read_text(encoding="utf-8")
