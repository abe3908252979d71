"""Which digits the loss without logits keeps; `rounding` derives how many there must be."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from coordexp.objective.backends import blocks as fused_blocks
from coordexp.objective.backends import problem as fused_problem
from coordexp.objective.backends import vocabulary_walk as fused_walk
from coordexp.objective.backends import without_logits as fused
from tests.objective.fused_cases import random_case
from tests.objective.rounding import assert_within, bounds, on_a_grid, stored

PRODUCTS = [
    pytest.param(torch.float32, torch.float32, id="float32"),
    pytest.param(torch.bfloat16, torch.bfloat16, id="bfloat16 with instructions for it"),
    pytest.param(torch.bfloat16, torch.float32, id="bfloat16 without"),
    pytest.param(torch.float16, torch.float16, id="float16 with instructions for it"),
    pytest.param(torch.float16, torch.float32, id="float16 without"),
]


def assert_exact_enough(seed: int, dtype: torch.dtype, products: torch.dtype) -> None:
    """Assert that the loss keeps all digits that a type of products leaves, on any processor."""
    ids = tuple(range(700, 900))
    case = on_a_grid(random_case(seed, tokens=60, width=64, vocab=1000, coord_ids=ids, scale=0.35))
    exact = stored(case, products, trainable_head=True)
    allowed = bounds(case, exact, products=products, handed_out=dtype)
    assert_within(case.run("fused", dtype, trainable_head=True), exact, allowed)


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_blocks, "CPU_SIZES", fused_blocks.Sizes(40, 32, 128, 16))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("dtype", "products"), PRODUCTS)
def test_it_loses_no_digit_but_those_of_its_products(
    dtype: torch.dtype, products: torch.dtype, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_cpu_multiplies", lambda _: products == dtype)
    assert_exact_enough(seed, dtype, products)


def lse_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    lse = fused_walk.Softmax.lse
    monkeypatch.setattr(fused_walk.Softmax, "lse", lambda self: lse(self).bfloat16().float())


def total_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    add = fused_walk.Softmax.add

    def rounding(self: fused_walk.Softmax, *block: object) -> None:
        add(self, *block)
        self._total.copy_(self._total.bfloat16())

    monkeypatch.setattr(fused_walk.Softmax, "add", rounding)


def logits_of_two_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add up products in their own type, as instructions without a wide accumulator would."""

    def logits(x: Tensor, rows: Tensor, *rest: object) -> tuple[Tensor, object]:
        half = x.shape[1] // 2
        return x[:, :half] @ rows[:, :half].T + x[:, half:] @ rows[:, half:].T, rest[-1]

    monkeypatch.setattr(fused_walk, "_logits", logits)


def sums_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_problem.SolverInputs, "sum_dtype", torch.bfloat16)


def offset_of_four_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fused_problem.SolverInputs.coord_rows

    def early(self: fused_problem.SolverInputs) -> Tensor:
        assert self.head_offset is not None
        return rows(replace(self, head_offset=self.head_offset.to(torch.float8_e4m3fn).float()))

    monkeypatch.setattr(fused_problem.SolverInputs, "coord_rows", early)


def slopes_of_three_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    add = fused_blocks._add_product

    def rounding(out: Tensor, a: Tensor, b: Tensor, scale: float) -> None:
        add(out, a.to(torch.float8_e5m2).to(a.dtype), b, scale)

    monkeypatch.setattr(fused_blocks, "_add_product", rounding)


def mean_of_three_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = fused_walk.Softmax.finish_mean

    def rounding(self: fused_walk.Softmax) -> None:
        finish(self)
        if self._weighted is not None:
            self._weighted.copy_(self._weighted.to(torch.float8_e5m2))

    monkeypatch.setattr(fused_walk.Softmax, "finish_mean", rounding)


LOSSES = [
    lse_in_bfloat16,
    total_in_bfloat16,
    sums_in_bfloat16,
    offset_of_four_bits,
    slopes_of_three_bits,
    mean_of_three_bits,
]


@pytest.mark.parametrize(
    ("lose", "products"),
    # In float32 both halves are exact, and nothing is lost.
    [*product(LOSSES, [torch.float32, torch.bfloat16]), (logits_of_two_halves, torch.bfloat16)],
)
def test_a_lost_digit_is_found(
    lose: Callable[[pytest.MonkeyPatch], None],
    products: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "_cpu_multiplies", lambda _: products == torch.bfloat16)
    lose(monkeypatch)
    with pytest.raises(AssertionError, match="more than"):
        assert_exact_enough(0, torch.bfloat16, products)


def test_autocast_does_not_reach_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_cpu_multiplies", lambda _: True)
    case = on_a_grid(random_case(width=32))
    exact = stored(case, torch.bfloat16)
    allowed = bounds(case, exact, products=torch.bfloat16, handed_out=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = case.run("fused", torch.float32)
    assert inside.gradients["hidden"].dtype == torch.float32
    assert inside.output.loss.dtype == torch.float32
    assert_within(inside, exact, allowed)
