import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from coordexp.objective import CoordTarget, CoordWeights, StepCounts, stage1_loss
from tests.objective import loops
from tests.objective.stage1_case import IDS, TARGET, VOCAB, Case

# --- the whole loss ---


@given(
    seed=st.integers(0, 2**31),
    labels=st.lists(st.sampled_from([-100, *range(VOCAB)]), min_size=1, max_size=9).map(tuple),
    offset=st.booleans(),
    target=st.builds(
        CoordTarget,
        sigma=st.floats(0.05, 20),
        truncate=st.none() | st.integers(0, 9),
        temperature=st.floats(0.3, 3),
        w1_unit=st.sampled_from(["fraction", "bins"]),
        w1_target=st.sampled_from(["soft", "one_hot"]),
    ),
    weights=st.builds(
        CoordWeights,
        ce=st.floats(0, 2),
        soft_ce=st.floats(0, 2),
        w1=st.floats(0, 2),
        gate=st.floats(0.1, 2),
    ),
)
def test_it_equals_the_slow_loops(
    seed: int,
    labels: tuple[int, ...],
    offset: bool,
    target: CoordTarget,
    weights: CoordWeights,
) -> None:
    case = Case(labels, seed=seed, offset=offset)
    output = case.loss(target=target, weights=weights)
    expected, sums = loops.stage1(
        case.hidden.detach().numpy(),
        case.head.detach().numpy(),
        list(labels),
        list(IDS),
        None if case.offset is None else case.offset.detach().numpy(),
        weights,
        target,
    )
    assert output.loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert {name: value.item() for name, value in output.sums.items()} == pytest.approx(
        sums, rel=1e-9, abs=1e-11
    )


def test_a_whole_loss_by_hand() -> None:
    # D = 1, hidden 1, so the logits are the head's column: two text ids 0, coord ids log 1, log 3.
    # Text target 0: -log(1 / (1 + 1 + 1 + 3)) = log 6.
    # Coord target bin 1: p = 1/4, 3/4; radius 0 makes q one-hot.
    #   ce = soft_ce = -log 3/4; w1 = 1/4 bins; gate = -log 4/6.
    # Total with weights 1, 2, 4, 8 and two counts of one:
    #   log 6 + 3 log 4/3 + 4 * 1/4 + 8 log 3/2 = 1.791759 + 0.863046 + 1 + 3.243721 = 6.898526
    head = torch.tensor([[0.0], [0.0], [0.0], [math.log(3)]], dtype=torch.float64)
    output = stage1_loss(
        torch.ones(2, 1, dtype=torch.float64),
        head,
        torch.tensor([0, 3]),
        coord_ids=torch.tensor([2, 3]),
        head_offset=None,
        weights=CoordWeights(ce=1.0, soft_ce=2.0, w1=4.0, gate=8.0),
        target=replace(TARGET, truncate=0),
        denominators=None,
        backend="auto",
    )
    assert output.loss.item() == pytest.approx(6.898526, abs=1e-6)
    assert output.counts == StepCounts(text=1, coord=1)
    assert output.diagnostics["p_gt"].item() == pytest.approx(3 / 4)
    assert output.diagnostics["coord_mass"].item() == pytest.approx(4 / 6)
    assert output.diagnostics["text_correct"] == 0  # bin 1 is likelier than the text target


def test_ce_and_gate_at_temperature_1_are_ordinary_cross_entropy() -> None:
    case = Case(offset=False)
    supervised = int((case.labels != -100).sum())
    output = case.loss(
        weights=CoordWeights(ce=1.0, soft_ce=0.0, w1=0.0, gate=1.0),
        denominators=StepCounts(text=supervised, coord=supervised),
    )
    expected = functional.cross_entropy(case.hidden @ case.head.T, case.labels)
    torch.testing.assert_close(output.loss, expected)
    wanted = torch.autograd.grad(expected, [case.hidden, case.head], retain_graph=True)
    for ours, theirs in zip(case.gradients(output), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_w1_in_bins_is_the_fraction_times_the_number_of_bins() -> None:
    in_bins, fraction = (
        Case().loss(target=replace(TARGET, w1_unit=unit)).sums["w1"]
        for unit in ("bins", "fraction")
    )
    torch.testing.assert_close(in_bins, fraction * len(IDS))


def test_an_offset_is_the_same_as_other_rows_in_the_head() -> None:
    case = Case()
    assert case.offset is not None
    moved = case.head.index_add(0, torch.tensor(list(IDS)), case.offset)
    ours, theirs = case.loss(), case.loss(head=moved, head_offset=None)
    torch.testing.assert_close(ours.loss, theirs.loss)
    for mine, other in zip(case.gradients(ours), case.gradients(theirs), strict=True):
        torch.testing.assert_close(mine, other)


def test_text_rows_reach_the_offsets_too() -> None:
    case = Case(labels=(3, 0))
    gradient = case.gradients(case.loss())[-1]
    assert (gradient.abs().sum(-1) > 0).all()  # the softmax over text leaks onto coord ids


# --- gradients ---


@pytest.mark.parametrize("w1_target", ["soft", "one_hot"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_gradients_are_right(w1_target: str, temperature: float) -> None:
    case = Case((3, 11, -100, 15, 19))
    target = replace(TARGET, temperature=temperature, w1_target=w1_target)  # type: ignore[arg-type]

    def loss(hidden: Tensor, head: Tensor, offset: Tensor) -> Tensor:
        return case.loss(hidden=hidden, head=head, head_offset=offset, target=target).loss

    assert torch.autograd.gradcheck(loss, (case.hidden, case.head, case.offset), fast_mode=True)


def test_sums_and_diagnostics_carry_no_graph() -> None:
    output = Case().loss()
    assert output.loss.requires_grad
    for value in [*output.sums.values(), *output.diagnostics.values()]:
        assert not value.requires_grad
