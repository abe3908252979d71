"""The kernels against the reference, on whatever runs them: Triton's interpreter or a GPU.

The interpreter must be on before triton is imported, so `test_kernels.py` runs this file in a
process of its own.
"""

import os
from dataclasses import replace

import pytest
import torch

from coordexp.objective import CoordTarget, CoordWeights, StepCounts
from coordexp.objective.backends import without_logits as fused
from coordexp.objective.backends.coord_rows import solve_coord_terms
from coordexp.objective.terms.coord_logits import read_coord_logits
from tests.objective.fused_cases import TARGET, WEIGHTS, Case, assert_equal, error, random_case
from tests.objective.rounding import assert_within, bounds, on_a_grid, stored

pytest.importorskip("triton")
coord = pytest.importorskip("coordexp.objective.backends.triton.coord", exc_type=ImportError)
rows = pytest.importorskip("coordexp.objective.backends.triton.softmax_rows", exc_type=ImportError)
solver = pytest.importorskip("coordexp.objective.backends.triton.solver", exc_type=ImportError)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not INTERPRETED and not torch.cuda.is_available(), reason="no GPU and no interpreter"
    ),
]
DEVICE = "cpu" if INTERPRETED else "cuda"
GATELESS = CoordWeights(**{**WEIGHTS, "gate": 0.0})


def case(seed: int = 0, **changes: object) -> Case:
    return replace(random_case(seed, tokens=12), device=DEVICE, **changes)


@pytest.mark.parametrize("trainable_head", [False, True])
@pytest.mark.parametrize("weights", [WEIGHTS, GATELESS, CoordWeights()])
@pytest.mark.parametrize(
    "target", [TARGET, CoordTarget(0.5, None, 2.5, "fraction", "one_hot")], ids=["soft", "one_hot"]
)
def test_the_kernels_equal_the_reference(
    weights: CoordWeights, target: CoordTarget, *, trainable_head: bool
) -> None:
    given = case(weights=weights, target=target, denominators=StepCounts(text=7, coord=3))
    actual = given.run("triton", trainable_head=trainable_head, grad=0.5)
    assert_equal(actual, given.run("reference", trainable_head=trainable_head, grad=0.5), 1e-12)


def test_without_a_weight_on_the_gate_nothing_learns_outside_the_coord_vocabulary() -> None:
    given = case(weights=GATELESS, labels=torch.arange(30, 41).repeat(2)[:12])
    outside = torch.ones(61, dtype=torch.bool)
    outside[given.coord_ids] = False
    poisoned = given.head_weight.masked_fill(outside[:, None], torch.nan)
    lost, healthy = replace(given, head_weight=poisoned).run("triton"), given.run("triton")
    assert torch.equal(lost.output.loss, healthy.output.loss)
    for name, gradient in lost.gradients.items():
        assert torch.equal(gradient, healthy.gradients[name])
    assert healthy.output.sums["gate"] > 0


@pytest.mark.parametrize(
    "coord_ids",
    [(), tuple(range(11)), tuple(range(50, 61)), (60, 0, 7, 33), (5,), tuple(range(60))],
    ids=["none", "first", "last", "scattered", "one", "all but one"],
)
def test_coord_ids_may_lie_anywhere(coord_ids: tuple[int, ...]) -> None:
    given = replace(random_case(tokens=8, coord_ids=coord_ids), device=DEVICE)
    assert_equal(given.run("triton"), given.run("reference"), 1e-12)


@pytest.mark.parametrize(("coord", "ignored"), [(0.0, 0.0), (1.1, 0.0), (0.4, 1.1)])
def test_a_kind_of_target_may_be_missing(coord: float, ignored: float) -> None:
    given = random_case(tokens=6, coord_share=coord, ignored_share=ignored)
    given = replace(given, device=DEVICE)
    assert_equal(given.run("triton"), given.run("reference"), 1e-12)


def test_rows_go_through_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "_MOST_ROWS", 4)
    monkeypatch.setattr(rows, "_COLUMNS_AT_ONCE", 16)
    given = case()
    assert_equal(given.run("triton"), given.run("reference"), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_small_types_lose_no_digit_but_those_of_their_products(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_cpu_multiplies", lambda _: True)
    given = on_a_grid(random_case(3, tokens=24, width=32, vocab=200, scale=0.4))
    exact = stored(given, dtype, trainable_head=True)
    allowed = bounds(given, exact, products=dtype, handed_out=dtype)
    actual = replace(given, device=DEVICE).run("triton", dtype, trainable_head=True)
    assert_within(actual, exact, allowed)


def test_a_thousand_bins_and_extreme_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    s = torch.randn(3, 1000, generator=generator) * torch.tensor([[0.1], [3.0], [60.0]])
    bins, leak = torch.tensor([0, 999, 500]), torch.tensor([0.5, 1e-9, 1.0])
    wide = s.double()
    inner = wide.logsumexp(-1)
    coords = read_coord_logits(
        wide, bins, inner=inner, outer=inner + leak.double().logit(), target=TARGET
    )
    exact = solve_coord_terms(coords, WEIGHTS)
    values, gradient = coord.coord_rows(
        s.to(DEVICE), bins.to(DEVICE), leak.to(DEVICE), weights=WEIGHTS, target=TARGET
    )
    assert error(gradient, exact.gradient) < 1e-5
    for name, value in values.items():
        assert error(value, exact.values[name]) < 1e-5, name
