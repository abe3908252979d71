import json
import math
from pathlib import Path

import pytest
import torch

from coordexp.errors import CoordExpError
from coordexp.objective import CoordTarget, CoordWeights, Stage1Output, StepCounts
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.monitor import (
    INSTABILITY_NAME,
    InstabilityMonitor,
    MonitorSettings,
    StepFigures,
    event_message,
    event_row,
    micro_batch_row,
)

SETTINGS = MonitorSettings(spike_factor=2.0, window=10, on_spike="go_on", on_non_finite="stop")
OBJECTIVE = Objective(
    coord_ids=range(8),
    weights=CoordWeights(ce=0.0, soft_ce=1.0, w1=0.0, gate=0.0),
    target=CoordTarget(2.0, 16, 1.0, "bins", "soft"),
    backend="reference",
)


def step(loss: float, norm: float | None = 1.0, number: int = 1) -> StepFigures:
    return StepFigures(step=number, loss=loss, grad_norm=norm)


def calm(run: Path, settings: MonitorSettings = SETTINGS) -> InstabilityMonitor:
    """Return a monitor that has seen ten steps of loss 1."""
    monitor = InstabilityMonitor(run, settings)
    for _ in range(10):
        assert monitor.judge(step(1.0)) == (None, None)
    return monitor


def test_a_spike_is_a_multiple_of_the_median(tmp_path: Path) -> None:
    monitor = calm(tmp_path)
    assert monitor.judge(step(2.0)) == (None, 1.0)
    assert monitor.judge(step(2.01)) == ("spike", 1.0)


def test_a_loss_that_stays_high_is_soon_no_spike(tmp_path: Path) -> None:
    monitor = calm(tmp_path)
    kinds = [monitor.judge(step(5.0))[0] for _ in range(10)]
    # The sixth is compared with five ones and five fives: 3.
    assert kinds == ["spike"] * 5 + [None] * 5


def test_nothing_is_a_spike_while_few_losses_are_known(tmp_path: Path) -> None:
    monitor = InstabilityMonitor(tmp_path, SETTINGS)
    kinds = [monitor.judge(step(loss))[0] for loss in [1.0] * 9 + [100.0]]
    assert kinds == [None] * 10


@pytest.mark.parametrize("lost", [step(math.nan), step(math.inf), step(1.0, math.nan)])
def test_what_is_not_finite_is_no_part_of_the_median(tmp_path: Path, lost: StepFigures) -> None:
    monitor = calm(tmp_path)
    assert monitor.judge(lost) == ("non_finite", 1.0)
    assert monitor.state_dict() == {"losses": [1.0] * 10}


def test_an_unknown_gradient_is_not_judged(tmp_path: Path) -> None:
    assert calm(tmp_path).judge(step(1.0, None)) == (None, 1.0)


@pytest.mark.parametrize("stop", [True, False])
def test_it_stops_as_configured(tmp_path: Path, *, stop: bool) -> None:
    settings = MonitorSettings(
        spike_factor=2.0,
        window=10,
        on_spike="stop" if stop else "go_on",
        on_non_finite="skip_step" if stop else "stop",
    )
    monitor = InstabilityMonitor(tmp_path, settings)
    assert monitor.stops("spike") == stop
    assert monitor.stops("non_finite") != stop


def test_a_monitor_goes_on_from_its_state(tmp_path: Path) -> None:
    after = InstabilityMonitor(tmp_path, SETTINGS)
    after.judge(step(7.0))
    after.load_state_dict(calm(tmp_path).state_dict())
    assert after.judge(step(3.0)) == ("spike", 1.0)


def test_lines_of_repeated_steps_are_taken_back(tmp_path: Path) -> None:
    monitor = InstabilityMonitor(tmp_path, SETTINGS)
    monitor.cut_back(3)  # there is no file
    path = tmp_path / INSTABILITY_NAME
    for number in (2, 5):
        monitor.write({"step": number})
    path.write_text(path.read_text() + '{"step": 3')
    monitor.cut_back(4)
    assert path.read_text() == '{"step": 2}\n'


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CoordExpError, match=r"instability\.jsonl cannot be written"):
        InstabilityMonitor(tmp_path, SETTINGS).write({"step": 1})


def batch(text: float, soft_ce: float, places: list[str]) -> dict[str, object]:
    sums = {"text": text, "ce": 1.0, "soft_ce": soft_ce, "w1": 0.0, "gate": 0.0}
    output = Stage1Output(
        loss=torch.tensor(text + soft_ce),
        sums={name: torch.tensor(value) for name, value in sums.items()},
        counts=StepCounts(text=2, coord=4),
        diagnostics={name: torch.tensor(1.0) for name in ("text_correct", "p_gt", "coord_mass")},
        text_hits=torch.zeros(6, dtype=torch.bool),
    )
    return micro_batch_row(output, OBJECTIVE, lambda: places, rank=0)


def test_a_micro_batch_is_judged_by_its_own_targets() -> None:
    row = batch(3.0, 2.0, ["a:1"])
    assert (row["loss"], row["base_ce/loss"], row["coord_diag/soft_ce"]) == (2.0, 1.5, 0.5)
    assert row["broken"] == []


def test_a_spike_names_all_records_worst_first() -> None:
    rows = [batch(3.0, 2.0, ["a:1", "a:2"]), batch(30.0, 2.0, ["a:9"])]
    row = event_row("spike", step(9.0, 1.0, 7), 2.0, "went on", rows)
    assert [one["records"] for one in row["micro_batches"]] == [["a:9"], ["a:1", "a:2"]]
    said = "step 7: the loss is 9, the median before it 2; records: a:9, a:1, a:2"
    assert event_message(row) == said
    assert json.loads(json.dumps(row)) == row


def test_a_lost_loss_names_the_lost_micro_batches_alone() -> None:
    rows = [batch(3.0, 2.0, ["a:1"]), batch(3.0, math.nan, ["a:9"])]
    row = event_row("non_finite", step(math.nan), None, "stopped", rows)
    assert event_message(row) == (
        "step 1: the loss is not finite; broken terms: soft_ce; records: a:9"
    )


def test_a_lost_gradient_names_the_whole_step() -> None:
    rows = [batch(3.0, 2.0, [f"a:{number}" for number in range(1, 23)])]
    said = event_message(event_row("non_finite", step(1.0, math.inf), None, "stopped", rows))
    assert said.startswith("step 1: the gradient is not finite, while the loss is; records: a:1, ")
    assert said.endswith("a:20 and 2 more")
