"""Random calls of the loss, run on one backend or another and compared."""

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from coordexp.objective import (
    Backend,
    CoordTarget,
    CoordWeights,
    Stage1Output,
    StepCounts,
    stage1_loss,
)

WEIGHTS = CoordWeights(ce=0.7, soft_ce=1.3, w1=0.9, gate=1.1)
TARGET = CoordTarget(sigma=1.5, truncate=3, temperature=1.0, w1_unit="bins", w1_target="soft")


@dataclass(frozen=True)
class Result:
    """The output of a call and the gradients of its inputs."""

    output: Stage1Output
    gradients: dict[str, Tensor]

    def numbers(self) -> dict[str, Tensor]:
        output = self.output
        return {"loss": output.loss.detach(), **output.sums, **output.diagnostics, **self.gradients}


@dataclass(frozen=True)
class Case:
    """The arguments of a call, in float64."""

    hidden: Tensor
    head_weight: Tensor
    labels: Tensor
    coord_ids: Tensor
    head_offset: Tensor | None
    weights: CoordWeights = WEIGHTS
    target: CoordTarget = TARGET
    denominators: StepCounts | None = None
    device: str = "cpu"

    def run(
        self,
        backend: Backend,
        dtype: torch.dtype = torch.float64,
        *,
        trainable_head: bool = False,
        grad: float = 1.0,
    ) -> Result:
        """Return the result with hidden states and head in `dtype`."""
        leaves = {
            "hidden": self.hidden.to(self.device, dtype, copy=True).requires_grad_(),
            "head": self.head_weight.to(self.device, dtype, copy=True).requires_grad_(
                trainable_head
            ),
        }
        if self.head_offset is not None:
            wide = torch.promote_types(dtype, torch.float32)
            leaves["offset"] = self.head_offset.to(self.device, wide, copy=True).requires_grad_()
        output = stage1_loss(
            leaves["hidden"],
            leaves["head"],
            self.labels.to(self.device),
            coord_ids=self.coord_ids.to(self.device),
            head_offset=leaves.get("offset"),
            weights=self.weights,
            target=self.target,
            denominators=self.denominators,
            backend=backend,
        )
        (output.loss * grad).backward()
        gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
        return Result(output, gradients)


def random_case(
    seed: int = 0,
    *,
    tokens: int = 40,
    width: int = 6,
    vocab: int = 61,
    coord_ids: tuple[int, ...] = tuple(range(30, 41)),
    coord_share: float = 0.4,
    ignored_share: float = 0.2,
    scale: float = 1.0,
    offset: bool = True,
) -> Case:
    """Return a case with text, coord and ignored tokens in a random order."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, width, generator=generator, dtype=torch.float64) * scale

    ids = torch.tensor(coord_ids, dtype=torch.int64)
    text_ids = torch.tensor([v for v in range(vocab) if v not in coord_ids])
    labels = text_ids[torch.randint(len(text_ids), (tokens,), generator=generator)]
    if len(ids):
        coords = ids[torch.randint(len(ids), (tokens,), generator=generator)]
        is_coord = torch.rand(tokens, generator=generator) < coord_share
        labels = torch.where(is_coord, coords, labels)
    labels[torch.rand(tokens, generator=generator) < ignored_share] = -100
    return Case(
        normal(tokens), normal(vocab), labels, ids, normal(len(ids)) / 2 if offset else None
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw calls of every kind, degenerate ones among them."""
    vocab = draw(st.integers(2, 40))
    num_bins = draw(st.integers(0, vocab - 1))
    if draw(st.booleans()):
        first = draw(st.integers(0, vocab - num_bins))
        coord_ids = tuple(range(first, first + num_bins))
    else:
        coord_ids = tuple(draw(st.permutations(range(vocab)))[:num_bins])
    case = random_case(
        draw(st.integers(0, 2**16)),
        tokens=draw(st.integers(0, 25)),
        width=draw(st.integers(1, 6)),
        vocab=vocab,
        coord_ids=coord_ids,
        coord_share=draw(st.sampled_from([0.0, 0.4, 1.0])),
        ignored_share=draw(st.sampled_from([0.0, 0.5, 1.0])),
        scale=draw(st.sampled_from([0.1, 1.0, 6.0])),
        offset=draw(st.booleans()),
    )
    weight = st.sampled_from([0.0, 0.5, 1.0])
    counts = st.builds(StepCounts, text=st.integers(0, 50), coord=st.integers(0, 50))
    return replace(
        case,
        weights=draw(st.builds(CoordWeights, ce=weight, soft_ce=weight, w1=weight, gate=weight)),
        target=draw(
            st.builds(
                CoordTarget,
                sigma=st.sampled_from([1e-3, 1.0, 4.0]),
                truncate=st.sampled_from([None, 0, 2, 100]),
                temperature=st.sampled_from([0.5, 1.0, 3.0]),
                w1_unit=st.sampled_from(["fraction", "bins"]),
                w1_target=st.sampled_from(["soft", "one_hot"]),
            )
        ),
        denominators=draw(st.none() | counts),
    )


def error(actual: Tensor, exact: Tensor) -> float:
    """Return the largest difference relative to the largest exact value."""
    if not exact.numel():
        return 0.0
    exact = exact.detach().double().cpu()
    difference = (actual.detach().double().cpu() - exact).abs().amax()
    return float(difference / exact.abs().amax().clamp_min(1e-30))


def assert_equal(actual: Result, exact: Result, tolerance: float) -> None:
    """Assert that two results have the same parts, equal up to a relative difference.

    What is zero but for rounding (a gate of 1e-17, say) may be off by the rounding of the logits.
    """
    assert actual.output.counts == exact.output.counts
    assert actual.output.sums.keys() == exact.output.sums.keys()
    assert actual.output.diagnostics.keys() == exact.output.diagnostics.keys()
    assert actual.gradients.keys() == exact.gradients.keys()
    if tolerance < 1e-6:  # else what is highest may depend on rounding
        assert actual.output.text_hits.tolist() == exact.output.text_hits.tolist()
    exact_numbers = exact.numbers()
    for name, value in actual.numbers().items():
        expected = exact_numbers[name].double().cpu()
        largest = float(expected.abs().amax()) if expected.numel() else 0.0
        torch.testing.assert_close(
            value.double().cpu(),
            expected,
            rtol=0.0,
            atol=tolerance * max(largest, 1.0),
            msg=lambda text, name=name: f"{name}: {text}",
        )
