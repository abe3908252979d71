import pytest
import torch

from coordexp.objective import CoordWeights, Stage1Output, StepCounts
from coordexp.training.diagnostics import LossWindow, total_loss

WEIGHTS = CoordWeights(ce=0.5, soft_ce=1.0, w1=2.0, gate=3.0)


def output(text: float, coord: float, *, n_text: int, n_coord: int, gate: bool) -> Stage1Output:
    sums = {"text": text, "ce": coord, "soft_ce": 2 * coord, "w1": 3 * coord}
    diagnostics = {"text_correct": n_text / 2, "p_gt": n_coord / 4}
    if gate:
        sums["gate"] = 4 * coord
        diagnostics["coord_mass"] = n_coord / 8
    return Stage1Output(
        loss=torch.tensor(0.0),
        sums={name: torch.tensor(value) for name, value in sums.items()},
        counts=StepCounts(text=n_text, coord=n_coord),
        diagnostics={name: torch.tensor(value) for name, value in diagnostics.items()},
    )


def test_sums_are_divided_once_by_all_targets() -> None:
    window = LossWindow(WEIGHTS)
    window.add(output(6.0, 1.0, n_text=10, n_coord=2, gate=True))
    window.add(output(2.0, 5.0, n_text=6, n_coord=4, gate=True))
    figures = window.read(lambda values: values)
    assert figures == pytest.approx(
        {
            "base_ce/loss": 8 / 16,
            "base_ce/tokens": 16,
            "token_acc": 0.5,
            "coord_diag/coord_tokens": 6,
            "coord_diag/enabled": 1,
            "coord_diag/ce": 1.0,
            "coord_diag/soft_ce": 2.0,
            "coord_diag/w1": 3.0,
            "coord_diag/gate": 4.0,
            "coord_diag/coord_vocab_mass": 1 / 8,
            "coord_diag/p_gt": 1 / 4,
            # 0.5 * 1 + 1 * 2 + 2 * 3 + 3 * 4
            "coord_diag/loss": 20.5,
        }
    )
    assert total_loss(figures) == 21.0


def test_reading_starts_a_new_window() -> None:
    window = LossWindow(WEIGHTS)
    window.add(output(6.0, 1.0, n_text=10, n_coord=2, gate=True))
    window.read(lambda values: values)
    assert window.read(lambda values: values) == {}


def test_ranks_are_summed_before_dividing() -> None:
    window = LossWindow(WEIGHTS)
    window.add(output(6.0, 1.0, n_text=10, n_coord=2, gate=True))
    figures = window.read(lambda values: 2 * values)
    assert (figures["base_ce/loss"], figures["base_ce/tokens"]) == (0.6, 20)


def test_without_a_gate_it_does_not_count() -> None:
    window = LossWindow(CoordWeights(ce=1.0, soft_ce=0.0, w1=0.0, gate=0.0))
    window.add(output(0.0, 2.0, n_text=1, n_coord=2, gate=False))
    figures = window.read(lambda values: values)
    assert figures["coord_diag/loss"] == 1.0
    assert "coord_diag/gate" not in figures
    assert "coord_diag/coord_vocab_mass" not in figures


def test_without_coord_targets_only_text_is_reported() -> None:
    window = LossWindow(WEIGHTS)
    window.add(output(6.0, 0.0, n_text=3, n_coord=0, gate=True))
    figures = window.read(lambda values: values)
    assert figures["coord_diag/enabled"] == 0
    assert "coord_diag/loss" not in figures
    assert total_loss(figures) == 2.0
