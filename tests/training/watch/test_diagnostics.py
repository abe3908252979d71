import math
from dataclasses import replace

import pytest
import torch

from coordexp.objective import CoordTarget, CoordWeights, Stage1Output, StepCounts
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.diagnostics import LossLedger, LossWindow, total_loss

OBJECTIVE = Objective(
    coord_ids=range(8),
    weights=CoordWeights(ce=0.5, soft_ce=1.0, w1=2.0, gate=3.0),
    target=CoordTarget(2.0, 16, 1.0, "bins", "soft"),
    backend="reference",
)
TEXT_BASELINE = replace(OBJECTIVE, coord_ids=range(0))
COORD_KEYS = {
    f"coord_diag/{key}"
    for key in ("loss", "ce", "soft_ce", "w1", "gate", "coord_vocab_mass", "p_gt")
} | {"coord_diag/coord_tokens", "coord_diag/enabled"}

NO_HITS = torch.zeros(0, dtype=torch.bool)


def output(
    text: float,
    coord: float,
    *,
    n_text: int,
    n_coord: int,
    text_hits: torch.Tensor = NO_HITS,
) -> Stage1Output:
    sums = {
        "text": text,
        "ce": coord,
        "soft_ce": 2 * coord,
        "w1": 3 * coord,
        "gate": 4 * coord,
    }
    diagnostics = {"text_correct": n_text / 2, "p_gt": n_coord / 4, "coord_mass": n_coord / 8}
    return Stage1Output(
        loss=torch.tensor(0.0),
        sums={name: torch.tensor(value) for name, value in sums.items()},
        counts=StepCounts(text=n_text, coord=n_coord),
        diagnostics={name: torch.tensor(value) for name, value in diagnostics.items()},
        text_hits=text_hits,
    )


def test_sums_are_divided_once_by_all_targets() -> None:
    window = LossWindow(OBJECTIVE)
    window.add(output(6.0, 1.0, n_text=10, n_coord=2))
    window.add(output(2.0, 5.0, n_text=6, n_coord=4))
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
    window = LossWindow(OBJECTIVE)
    window.add(output(6.0, 1.0, n_text=10, n_coord=2))
    window.read(lambda values: values)
    assert window.read(lambda values: values) == {}


def test_ranks_are_summed_before_dividing() -> None:
    window = LossWindow(OBJECTIVE)
    window.add(output(6.0, 1.0, n_text=10, n_coord=2))
    figures = window.read(lambda values: 2 * values)
    assert (figures["base_ce/loss"], figures["base_ce/tokens"]) == (0.6, 20)


def test_a_term_without_a_weight_is_shown_and_does_not_count() -> None:
    window = LossWindow(replace(OBJECTIVE, weights=CoordWeights(ce=1.0)))
    window.add(output(0.0, 2.0, n_text=1, n_coord=2))
    figures = window.read(lambda values: values)
    assert (figures["coord_diag/loss"], figures["coord_diag/gate"]) == (1.0, 4.0)
    assert figures["coord_diag/coord_vocab_mass"] == 1 / 8


def test_a_term_without_a_weight_may_be_lost_without_losing_the_loss() -> None:
    window = LossWindow(replace(OBJECTIVE, weights=CoordWeights(ce=1.0)))
    lost = output(0.0, 2.0, n_text=1, n_coord=2)
    window.add(replace(lost, sums={**lost.sums, "gate": torch.tensor(math.nan)}))
    figures = window.read(lambda values: values)
    assert figures["coord_diag/loss"] == 1.0
    assert math.isnan(figures["coord_diag/gate"])


def test_every_coord_key_is_there_without_a_coordinate_too() -> None:
    """`enabled` says that the objective is on, not that this batch had something for it."""
    window = LossWindow(OBJECTIVE)
    window.add(output(6.0, 0.0, n_text=3, n_coord=0))
    figures = window.read(lambda values: values)
    assert figures.keys() >= COORD_KEYS
    assert figures["coord_diag/enabled"] == 1
    assert not any(figures[key] for key in COORD_KEYS - {"coord_diag/enabled"})
    assert total_loss(figures) == 2.0


def test_the_text_baseline_has_the_same_keys_and_the_objective_off() -> None:
    window = LossWindow(TEXT_BASELINE)
    window.add(output(6.0, 0.0, n_text=3, n_coord=0))
    figures = window.read(lambda values: values)
    assert figures.keys() >= COORD_KEYS
    assert not any(figures[key] for key in COORD_KEYS)
    assert total_loss(figures) == 2.0


# Two rows of four tokens; the first of each is nobody's target. 1 is desc, 2 structure.
TYPES = torch.tensor([[1, 1, 2, 0], [0, 2, 2, 1]])
HITS = torch.tensor([True, False, False, True, True, False])


def typed_output() -> Stage1Output:
    return output(6.0, 1.0, n_text=5, n_coord=1, text_hits=HITS)


def test_token_types_have_their_own_accuracy() -> None:
    window = LossWindow(OBJECTIVE)
    window.add(typed_output(), TYPES)
    figures = window.read(lambda values: values)
    assert figures["token_type/desc_acc"] == 1 / 2  # right, wrong
    assert figures["token_type/struct_acc"] == 2 / 3  # wrong, right, right


def test_a_rank_without_token_types_sums_as_many_figures() -> None:
    with_types, without = LossWindow(OBJECTIVE), LossWindow(OBJECTIVE)
    with_types.add(typed_output(), TYPES)
    without.add(typed_output())
    sizes = []
    for window in (with_types, without):
        figures = window.read(lambda values: sizes.append(values.shape) or values)
        assert ("token_type/desc_acc" in figures) == (window is with_types)
    assert sizes[0] == sizes[1]


def test_a_window_goes_on_from_its_state() -> None:
    whole, first, second = LossWindow(OBJECTIVE), LossWindow(OBJECTIVE), LossWindow(OBJECTIVE)
    whole.add(typed_output(), TYPES)
    whole.add(output(2.0, 5.0, n_text=6, n_coord=4))
    first.add(typed_output(), TYPES)
    second.load_state_dict(first.state_dict())
    second.add(output(2.0, 5.0, n_text=6, n_coord=4))
    assert second.read(lambda values: values) == whole.read(lambda values: values)


def test_a_ledger_keeps_training_and_evaluation_apart() -> None:
    ledger = LossLedger(OBJECTIVE, lambda values: values)
    ledger.add(output(6.0, 1.0, n_text=10, n_coord=2), None, training=True)
    ledger.add(output(9.0, 9.0, n_text=9, n_coord=9), None, training=False)
    ledger.begin_evaluation()  # of the one that was broken off, nothing is left
    ledger.add(output(2.0, 4.0, n_text=4, n_coord=4), None, training=False)
    figures = ledger.read_evaluation("held")
    assert figures["held_base_ce/loss"] == 0.5
    assert figures["held_loss"] == 0.5 + figures["held_coord_diag/loss"]
    assert ledger.read_training()["base_ce/loss"] == 0.6
    assert ledger.read_training() == {}
