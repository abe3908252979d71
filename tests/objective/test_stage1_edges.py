import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from coordexp.objective import CoordWeights, StepCounts, stage1_loss
from tests.objective.stage1_case import IDS, LABELS, TARGET, VOCAB, WEIGHTS, WIDTH, Case

GATELESS = CoordWeights(ce=1.0, soft_ce=1.0, w1=1.0, gate=0.0)

# --- batches that lack something ---


@pytest.mark.parametrize(
    ("labels", "text", "coord"),
    [((3, 0, -100), 2, 0), ((11, 19, -100), 0, 2), ((-100, -100), 0, 0), ((), 0, 0)],
)
def test_a_batch_may_lack_text_or_coords_or_both(
    labels: tuple[int, ...], text: int, coord: int
) -> None:
    case = Case(labels)
    output = case.loss()
    assert output.counts == StepCounts(text=text, coord=coord)
    gradients = case.gradients(output)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert (output.sums["text"] > 0) == (text > 0)
    for name in ("ce", "soft_ce", "w1", "gate"):
        assert (output.sums[name] > 0) == (coord > 0)
    if not text and not coord:
        assert output.loss == 0
        assert all((gradient == 0).all() for gradient in gradients)


def test_a_call_without_targets_still_reaches_every_input() -> None:
    """A rank with nothing to learn takes part in the others' all-reduce."""
    case = Case((-100, -100))
    assert case.offset is not None
    case.loss(denominators=StepCounts(text=7, coord=3)).loss.backward()
    for leaf in (case.hidden, case.head, case.offset):
        assert leaf.grad is not None


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_without_coord_ids_it_is_plain_cross_entropy(gate: float) -> None:
    case = Case(offset=False)
    output = case.loss(
        coord_ids=torch.arange(0, 0), weights=CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=gate)
    )
    torch.testing.assert_close(
        output.loss, functional.cross_entropy(case.hidden @ case.head.T, case.labels)
    )
    assert output.counts == StepCounts(text=7, coord=0)
    assert all(torch.isfinite(gradient).all() for gradient in case.gradients(output))


# --- the gate ---


def test_gate_weight_0_leaves_the_rest_of_the_vocabulary_alone() -> None:
    case = Case((11, 15, 19), offset=False)
    output = case.loss(weights=GATELESS)
    _, head_gradient = case.gradients(output)
    outside = [v for v in range(VOCAB) if v not in IDS]
    assert (head_gradient[outside] == 0).all()
    assert (head_gradient[list(IDS)] != 0).any()
    broken = case.head.detach().clone()
    broken[outside] = torch.nan
    lost = case.loss(head=broken, weights=GATELESS)
    torch.testing.assert_close(lost.loss, output.loss)
    assert torch.isnan(lost.sums["gate"])  # and it stays visible


def test_gate_weight_0_still_says_how_much_leaks() -> None:
    case = Case((11, 15, 19, 3))
    weighed, looked_at = case.loss(), case.loss(weights=GATELESS)
    assert weighed.sums.keys() == looked_at.sums.keys()
    assert looked_at.sums["gate"] > 0
    torch.testing.assert_close(looked_at.sums["gate"], weighed.sums["gate"])
    torch.testing.assert_close(
        looked_at.diagnostics["coord_mass"], weighed.diagnostics["coord_mass"]
    )
    assert not looked_at.sums["gate"].requires_grad


def test_gate_weight_0_is_the_limit_of_small_weights() -> None:
    case = Case()
    least = case.loss(weights=CoordWeights(**{**GATELESS, "gate": 1e-12}))
    none = case.loss(weights=GATELESS)
    torch.testing.assert_close(none.loss, least.loss, rtol=1e-10, atol=1e-10)
    for mine, theirs in zip(case.gradients(none), case.gradients(least), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("exponent", [1, 4, 8, 12])
def test_the_gate_keeps_its_digits_through_the_whole_loss(exponent: int) -> None:
    # D = 1 and hidden 1: the logits are the head's column. Two coord ids at 0, one text id below.
    low = math.log(10.0**-exponent)
    head = torch.tensor([[0.0], [0.0], [low]])
    output = stage1_loss(
        torch.ones(1, 1),
        head,
        torch.tensor([1]),
        coord_ids=torch.tensor([0, 1]),
        head_offset=None,
        weights=WEIGHTS,
        target=TARGET,
        denominators=None,
        backend="auto",
    )
    exact = math.log1p(math.exp(head[2].double().item()) / 2)
    assert output.sums["gate"].item() == pytest.approx(exact, rel=1e-5)


# --- denominators ---


@pytest.mark.parametrize("cuts", [(9,), (1,) * 9, (4, 5), (2, 0, 3, 4)])
def test_micro_batches_add_up_to_the_step(cuts: tuple[int, ...]) -> None:
    case = Case()
    whole = case.loss()
    parts = [
        case.loss(hidden=hidden, labels=labels, denominators=whole.counts)
        for hidden, labels in zip(case.hidden.split(cuts), case.labels.split(cuts), strict=True)
    ]
    total = torch.stack([part.loss for part in parts]).sum()
    torch.testing.assert_close(total, whole.loss)
    assert sum(part.counts.text for part in parts) == whole.counts.text
    assert sum(part.counts.coord for part in parts) == whole.counts.coord
    wanted = case.gradients(whole)
    ours = torch.autograd.grad(total, [case.hidden, case.head, case.offset])  # type: ignore[list-item]
    for mine, theirs in zip(ours, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_none_means_the_counts_of_this_call() -> None:
    case = Case()
    output = case.loss()
    assert output.counts == StepCounts(text=3, coord=4)
    assert torch.equal(output.loss, case.loss(denominators=output.counts).loss)


# --- numbers of other precisions, and broken ones ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_inputs_give_an_fp32_loss(dtype: torch.dtype) -> None:
    # A logit of up to 8 is rounded three times: the product, the offset's, their sum. Roundings
    # to the other side, of which a processor may have a few, move it by a step each.
    tolerance = 4 * torch.finfo(dtype).eps
    low = Case(dtype=dtype)
    high = Case()
    assert high.offset is not None
    assert low.offset is not None
    for mine, theirs in ((high.hidden, low.hidden), (high.head, low.head)):
        mine.data = theirs.detach().double()
    high.offset.data = low.offset.detach().double()
    output = low.loss()
    assert output.loss.dtype == torch.float32
    torch.testing.assert_close(
        output.loss.double(), high.loss().loss, rtol=tolerance, atol=tolerance
    )
    for mine, theirs in zip(low.gradients(output), high.gradients(high.loss()), strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), theirs, rtol=10 * tolerance, atol=tolerance)


def test_fp32_offsets_learn_from_bf16_hidden_states() -> None:
    case = Case(dtype=torch.bfloat16)
    offset = torch.zeros(len(IDS), WIDTH, requires_grad=True)
    case.loss(head_offset=offset).loss.backward()
    assert offset.grad is not None
    assert offset.grad.dtype == torch.float32
    assert (offset.grad != 0).any()


def test_a_broken_number_is_not_repaired() -> None:
    case = Case()
    with torch.no_grad():
        case.hidden[1, 0] = torch.nan  # a coord target
    output = case.loss()
    assert torch.isnan(output.loss)
    assert torch.isfinite(output.sums["text"])
    assert torch.isnan(output.sums["soft_ce"])


def test_ignored_positions_never_matter() -> None:
    case = Case()
    noisy = case.hidden.detach().clone()
    noisy[case.labels == -100] = torch.nan
    assert torch.equal(case.loss(hidden=noisy).loss, case.loss().loss)


# --- diagnostics ---


def test_a_text_target_is_correct_when_nothing_is_above_it() -> None:
    case = Case((3, 0, 22, 7, 1, 2), offset=False)
    best = (case.hidden @ case.head.T).argmax(-1)
    hits = case.loss(labels=torch.where(best < IDS.start, best, case.labels))
    wanted = int((best < IDS.start).sum())
    assert 0 < wanted <= hits.diagnostics["text_correct"].item() <= len(best)
    everything = torch.where((best >= IDS.start) & (best < IDS.stop), -100, best)
    output = case.loss(labels=everything)
    assert output.diagnostics["text_correct"].item() == output.counts.text


def test_p_gt_and_mass_are_sums_over_the_coord_targets() -> None:
    case = Case(offset=False)
    output = case.loss()
    z = (case.hidden @ case.head.T).detach().numpy()
    rows = [t for t, label in enumerate(LABELS) if label in IDS]
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    mass = sum(p[t, IDS.start : IDS.stop].sum() for t in rows)
    p_gt = sum(p[t, LABELS[t]] / p[t, IDS.start : IDS.stop].sum() for t in rows)
    assert output.diagnostics["coord_mass"].item() == pytest.approx(mass)
    assert output.diagnostics["p_gt"].item() == pytest.approx(p_gt)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(Exception, match="magic"):  # by the loss, or before it by the type checker
        Case().loss(backend="magic")
