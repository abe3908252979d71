import pytest
import torch

from coordexp.objective import CoordWeights, Stage1Output, StepCounts
from coordexp.training.diagnostics import LossWindow, total_loss

WEIGHTS = CoordWeights(ce=0.5, soft_ce=1.0, w1=2.0, gate=3.0)


NO_HITS = torch.zeros(0, dtype=torch.bool)


def output(
    text: float,
    coord: float,
    *,
    n_text: int,
    n_coord: int,
    gate: bool,
    text_hits: torch.Tensor = NO_HITS,
) -> Stage1Output:
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
        text_hits=text_hits,
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


# Two rows of four tokens; the first of each is nobody's target. 1 is desc, 2 structure.
TYPES = torch.tensor([[1, 1, 2, 0], [0, 2, 2, 1]])
HITS = torch.tensor([True, False, False, True, True, False])


def typed_output() -> Stage1Output:
    return output(6.0, 1.0, n_text=5, n_coord=1, gate=True, text_hits=HITS)


def test_token_types_have_their_own_accuracy() -> None:
    window = LossWindow(WEIGHTS)
    window.add(typed_output(), TYPES)
    figures = window.read(lambda values: values)
    assert figures["token_type/desc_acc"] == 1 / 2  # right, wrong
    assert figures["token_type/struct_acc"] == 2 / 3  # wrong, right, right


def test_a_rank_without_token_types_sums_as_many_figures() -> None:
    with_types, without = LossWindow(WEIGHTS), LossWindow(WEIGHTS)
    with_types.add(typed_output(), TYPES)
    without.add(typed_output())
    sizes = []
    for window in (with_types, without):
        figures = window.read(lambda values: sizes.append(values.shape) or values)
        assert ("token_type/desc_acc" in figures) == (window is with_types)
    assert sizes[0] == sizes[1]


def test_a_window_goes_on_from_its_state() -> None:
    whole, first, second = LossWindow(WEIGHTS), LossWindow(WEIGHTS), LossWindow(WEIGHTS)
    whole.add(typed_output(), TYPES)
    whole.add(output(2.0, 5.0, n_text=6, n_coord=4, gate=True))
    first.add(typed_output(), TYPES)
    second.load_state_dict(first.state_dict())
    second.add(output(2.0, 5.0, n_text=6, n_coord=4, gate=True))
    assert second.read(lambda values: values) == whole.read(lambda values: values)
