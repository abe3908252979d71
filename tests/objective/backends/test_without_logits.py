from dataclasses import replace

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from coordexp.objective import CoordWeights, StepCounts, loss, stage1_loss
from coordexp.objective.backends import blocks as fused_blocks
from tests.objective.fused_cases import (
    TARGET,
    WEIGHTS,
    Case,
    assert_equal,
    cases,
    error,
    random_case,
)

GATELESS = CoordWeights(ce=0.5, soft_ce=1.0, w1=1.0, gate=0.0)


@pytest.fixture(autouse=True, scope="module")
def _small_tiles() -> object:
    """Cut small cases into many chunks, tiles and blocks, the last of each incomplete."""
    patch = pytest.MonkeyPatch()
    patch.setattr(fused_blocks, "CPU_SIZES", fused_blocks.Sizes(10, 4, 8, 3))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # nothing here is worth a second one
    yield
    torch.set_num_threads(threads)
    patch.undo()


@given(case=cases())
def test_it_equals_the_reference(case: Case) -> None:
    assert_equal(case.run("fused"), case.run("reference"), 1e-12)


@given(case=cases())
def test_it_equals_the_reference_with_a_trainable_head(case: Case) -> None:
    actual = case.run("fused", trainable_head=True, grad=0.3)
    assert_equal(actual, case.run("reference", trainable_head=True, grad=0.3), 1e-12)


@pytest.mark.parametrize(
    "coord_ids",
    [
        tuple(range(11)),
        tuple(range(50, 61)),
        tuple(range(13, 24)),
        (60, 0, 7, 8, 9, 30, 31, 16, 15),
        (*range(8, 16), 40),
        tuple(range(60)),
        (),
    ],
    ids=["first", "last", "straddling", "scattered", "whole block", "all but one", "none"],
)
def test_coord_ids_may_lie_anywhere(coord_ids: tuple[int, ...]) -> None:
    case = random_case(coord_ids=coord_ids)
    assert_equal(
        case.run("fused", trainable_head=True), case.run("reference", trainable_head=True), 1e-12
    )


@pytest.mark.parametrize("target", [0, 7, 8, 29, 41, 60])
def test_a_target_is_found_at_any_edge_of_a_block(target: int) -> None:
    case = replace(random_case(), labels=torch.full((40,), target))
    assert_equal(case.run("fused"), case.run("reference"), 1e-12)


def test_logits_that_grow_from_block_to_block_do_not_overflow() -> None:
    case = random_case(tokens=6, vocab=200)
    ramp = torch.linspace(-400, 400, 200, dtype=torch.float64)[:, None]
    case = replace(case, hidden=torch.ones_like(case.hidden), head_weight=ramp.expand(-1, 6) / 6)
    assert_equal(case.run("fused"), case.run("reference"), 1e-12)
    assert error(case.run("fused", torch.float32).output.loss, case.run("fused").output.loss) < 1e-6


def test_a_tie_with_the_target_counts_as_correct() -> None:
    case = random_case(ignored_share=0.0, coord_share=0.0)
    case = replace(case, hidden=torch.zeros_like(case.hidden))
    assert case.run("fused").output.diagnostics["text_correct"] == 40


def test_the_gate_keeps_its_digits() -> None:
    # One coord id and one other: the gate is log(1 + exp(-gap)).
    for gap in (1.0, 10.0, 27.6):
        case = Case(
            hidden=torch.tensor([[1.0]]),
            head_weight=torch.tensor([[-gap], [0.0]]),
            labels=torch.tensor([1]),
            coord_ids=torch.tensor([1]),
            head_offset=None,
            weights=CoordWeights(**{**GATELESS, "gate": 1.0}),
            target=TARGET,
        )
        gate = case.run("fused", torch.float32).output.sums["gate"]
        exact = torch.log1p(torch.exp(torch.tensor(-gap, dtype=torch.float64)))
        assert error(gate, exact) < 1e-5


@pytest.mark.parametrize("backend", ["fused", "auto"])
def test_without_a_target_loss_and_gradients_are_zero(backend: loss.Backend) -> None:
    case = random_case(ignored_share=1.1)
    result = case.run(backend, trainable_head=True)
    assert result.output.loss == 0
    assert result.output.counts == StepCounts(text=0, coord=0)
    assert all(not gradient.any() for gradient in result.gradients.values())
    assert result.gradients.keys() == {"hidden", "head", "offset"}


def test_without_a_weight_on_the_gate_nothing_learns_outside_the_coord_vocabulary() -> None:
    case = replace(random_case(coord_share=1.1), weights=GATELESS)
    outside = torch.ones(61, dtype=torch.bool)
    outside[case.coord_ids] = False
    healthy = case.run("fused", trainable_head=True)
    assert not healthy.gradients["head"][outside].any()
    poisoned = case.head_weight.masked_fill(outside[:, None], torch.nan)
    lost = replace(case, head_weight=poisoned).run("fused")
    assert {name for name, value in lost.numbers().items() if not value.isfinite().all()} == {
        "gate",
        "coord_mass",
    }
    assert torch.equal(lost.output.loss, healthy.output.loss)
    for name, gradient in lost.gradients.items():
        assert torch.equal(gradient, healthy.gradients[name])


def test_without_a_weight_on_the_gate_it_still_says_how_much_leaks() -> None:
    case = random_case()
    weighed, looked_at = case.run("fused"), replace(case, weights=GATELESS).run("fused")
    for name in ("gate", "coord_mass", "p_gt"):
        assert error(looked_at.numbers()[name], weighed.numbers()[name]) < 1e-14


def test_what_is_not_finite_stays_visible() -> None:
    case = random_case(ignored_share=0.0)
    hidden = case.hidden.clone()
    hidden[3, 2] = torch.nan
    assert replace(case, hidden=hidden).run("fused").output.loss.isnan()


@pytest.mark.parametrize("weights", [WEIGHTS, GATELESS])
def test_gradcheck(weights: CoordWeights) -> None:
    case = random_case(tokens=7, width=3, vocab=15, coord_ids=(4, 5, 6, 7))

    def total(hidden: Tensor, head_weight: Tensor, head_offset: Tensor) -> Tensor:
        return stage1_loss(
            hidden,
            head_weight,
            case.labels,
            coord_ids=case.coord_ids,
            head_offset=head_offset,
            weights=weights,
            target=replace(TARGET, temperature=1.7),
            denominators=StepCounts(text=3, coord=5),
            backend="fused",
        ).loss

    assert case.head_offset is not None
    inputs = [case.hidden, case.head_weight, case.head_offset]
    leaves = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(total, leaves, fast_mode=True)


def fused_loss(case: Case, hidden: Tensor) -> Tensor:
    return stage1_loss(
        hidden,
        case.head_weight.to(hidden.dtype),
        case.labels,
        coord_ids=case.coord_ids,
        head_offset=None,
        weights=case.weights,
        target=case.target,
        denominators=None,
        backend="fused",
    ).loss


def test_it_can_be_checkpointed() -> None:
    case = random_case()
    plain, again = (case.hidden.clone().requires_grad_() for _ in range(2))
    fused_loss(case, plain * 2).backward()
    checkpoint(lambda h: fused_loss(case, h * 2), again, use_reentrant=False).backward()
    assert plain.grad is not None
    assert torch.equal(plain.grad, again.grad)


def test_backward_may_run_twice_over_a_retained_graph() -> None:
    hidden = random_case().hidden.clone().requires_grad_()
    value = fused_loss(random_case(), hidden)
    value.backward(retain_graph=True)
    assert hidden.grad is not None
    once = hidden.grad.clone()
    value.backward()
    assert torch.equal(hidden.grad, 2 * once)


def test_a_second_derivative_is_refused() -> None:
    hidden = random_case().hidden.clone().requires_grad_()
    squared = fused_loss(random_case(), hidden).square()
    (gradient,) = torch.autograd.grad(squared, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_without_gradients_it_gives_the_same_loss_and_no_graph() -> None:
    case = random_case()
    hidden = case.hidden.clone().requires_grad_()
    with torch.no_grad():
        value = fused_loss(case, hidden)
    assert not value.requires_grad
    assert error(value, fused_loss(case, hidden).detach()) < 1e-14


@pytest.mark.parametrize(
    ("vocab", "expected"), [(8191, "reference"), (8192, "fused")], ids=["small", "large"]
)
def test_auto_avoids_logits_of_a_large_vocabulary(
    vocab: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def note(*_: object, **kwargs: object) -> None:
        called.append("fused" if "solver" in kwargs else "reference")

    monkeypatch.setattr(loss, "solved_stage1_loss", note)
    monkeypatch.setattr(loss, "reference_stage1_loss", note)
    case = random_case(tokens=1, width=1)
    case = replace(case, head_weight=torch.zeros(vocab, 1))
    with pytest.raises((AttributeError, TypeError)):
        case.run("auto", torch.float32)
    assert called == [expected]


class _Model(torch.nn.Module):
    """A layer, a frozen head, a trainable offset, and the loss inside the forward pass."""

    def __init__(self, case: Case, backend: loss.Backend) -> None:
        super().__init__()
        assert case.head_offset is not None
        generator = torch.Generator().manual_seed(7)
        width = case.hidden.shape[1]
        weight = torch.randn(width, width, generator=generator, dtype=torch.float64)
        self.layer = torch.nn.Parameter(weight)
        self.offset = torch.nn.Parameter(case.head_offset.clone())
        self._case, self._backend = case, backend

    def forward(self, x: Tensor) -> Tensor:
        case = self._case
        hidden = checkpoint(torch.nn.functional.linear, x, self.layer, use_reentrant=False)
        return stage1_loss(
            hidden,
            case.head_weight,
            case.labels,
            coord_ids=case.coord_ids,
            head_offset=self.offset,
            weights=case.weights,
            target=case.target,
            denominators=None,
            backend=self._backend,
        ).loss


@pytest.mark.parametrize("ignored", [0.2, 1.1], ids=["targets", "no target at all"])
def test_ddp_sees_an_ordinary_forward_pass(ignored: float) -> None:
    case = random_case(ignored_share=ignored)
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        fused_model, plain = _Model(case, "fused"), _Model(case, "reference")
        torch.nn.parallel.DistributedDataParallel(fused_model)(case.hidden).backward()
    finally:
        torch.distributed.destroy_process_group()
    plain(case.hidden).backward()
    for actual, expected in zip(fused_model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, rtol=1e-12, atol=1e-13)
