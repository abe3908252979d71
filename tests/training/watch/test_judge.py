"""The judge alone, without a Trainer; test_steps.py has it judge real runs."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.objective import CoordTarget, CoordWeights, Stage1Output, StepCounts
from coordexp.objective.terms import TERMS
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.judge import StepJudge
from coordexp.training.watch.monitor import InstabilityMonitor, MonitorSettings, OnNonFinite

OBJECTIVE = Objective(
    range(5, 9),
    CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0),
    CoordTarget(2.0, 16, 1.0, "fraction", "soft"),
    backend="reference",
)


def output(loss: float) -> Stage1Output:
    value = torch.tensor(loss)
    return Stage1Output(
        loss=value,
        sums={"text": value, **{term.name: torch.tensor(0.0) for term in TERMS}},
        counts=StepCounts(text=1, coord=0),
        diagnostics={name: torch.tensor(0.0) for name in ("coord_mass", "p_gt", "text_correct")},
        text_hits=torch.zeros(1, dtype=torch.bool),
    )


def judge_of(
    run: Path | None = None, *, then: OnNonFinite = "stop", scales_loss: bool = False
) -> StepJudge:
    settings = MonitorSettings(spike_factor=3.0, window=10, on_spike="go_on", on_non_finite=then)
    monitor = None if run is None else InstabilityMonitor(run, settings)

    def alone(values: Tensor) -> Tensor:
        return values

    return StepJudge(OBJECTIVE, monitor, rank=0, sum_over_ranks=alone, scales_loss=scales_loss)


def taken(judge: StepJudge, *losses: float, norm: float | None = 1.0) -> StepJudge:
    for number, loss in enumerate(losses):
        judge.take(output(loss), lambda number=number: [f"a.jsonl:{number}"])  # type: ignore[misc]
    judge.take_norm(norm)
    return judge


def test_a_step_that_is_well_passes_and_is_forgotten() -> None:
    judge = taken(judge_of(), 1.0, 2.0)
    assert judge.judge(1) is None
    with pytest.raises(RuntimeError):
        judge.judge(2)  # of nothing


def test_a_lost_loss_stops_a_run_and_names_its_records() -> None:
    judge = taken(judge_of(), 1.0, math.nan)
    with pytest.raises(CoordExpError, match=r"step 7: the loss is not finite.*a\.jsonl:1"):
        judge.judge(7)


def test_a_lost_gradient_stops_a_run_unless_its_loss_is_scaled() -> None:
    with pytest.raises(CoordExpError, match="the gradient is not finite, while the loss is"):
        taken(judge_of(), 1.0, norm=math.inf).judge(1)
    assert taken(judge_of(scales_loss=True), 1.0, norm=math.inf).judge(1) is None
    assert taken(judge_of(), 1.0, norm=None).judge(1) is None


def test_a_lost_step_may_be_outlived_and_is_written(tmp_path: Path) -> None:
    judge = taken(judge_of(tmp_path, then="skip_step"), math.inf)
    assert judge.judge(4) == "non_finite"
    (row,) = map(json.loads, (tmp_path / "instability.jsonl").read_text().splitlines())
    assert (row["step"], row["then"]) == (4, "skipped")
    judge.begin_run(3)  # as a resumed run does, which will meet step 4 again
    assert (tmp_path / "instability.jsonl").read_text() == ""


def test_the_groups_are_read_once_and_before_clipping() -> None:
    weight = torch.nn.Parameter(torch.ones(1, 2))
    weight.grad = torch.tensor([[3.0, 4.0]])
    groups = [{"name": "language", "lr": 0.5, "params": [weight]}]
    judge = judge_of()
    judge.measure_groups(groups, max_grad_norm=1.0)
    assert judge.read_groups() == {}  # the norm is not known
    judge.take_norm(10.0)
    judge.measure_groups(groups, max_grad_norm=1.0)
    figures = judge.read_groups()
    assert figures == pytest.approx({"lr/language": 0.5, "grad_norm/language": 50.0}, rel=1e-5)
    assert judge.read_groups() == {}
