import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coordexp.objective.distribution import (
    coord_gate,
    gaussian_soft_target,
    soft_cross_entropy,
    wasserstein1,
)

NUM_BINS = 12

finite_logits = st.lists(
    st.floats(-30, 30, allow_subnormal=False), min_size=NUM_BINS, max_size=NUM_BINS
)
distributions = finite_logits.map(lambda row: torch.tensor([row], dtype=torch.float64).softmax(-1))


def make_target(
    *bins: int,
    num_bins: int = 1000,
    sigma: float = 2.0,
    truncate: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    return gaussian_soft_target(
        torch.tensor(bins), num_bins=num_bins, sigma=sigma, truncate=truncate, dtype=dtype
    )


def one_hot(k: int, num_bins: int = NUM_BINS) -> Tensor:
    return torch.eye(num_bins, dtype=torch.float64)[k][None]


# --- the target ---


@given(
    true_bin=st.integers(0, 999),
    sigma=st.floats(1e-3, 300),
    truncate=st.none() | st.integers(0, 999),
)
def test_a_target_is_a_distribution_that_peaks_at_the_true_bin(
    true_bin: int, sigma: float, truncate: int | None
) -> None:
    q = make_target(true_bin, sigma=sigma, truncate=truncate)
    assert q.shape == (1, 1000)
    assert (q >= 0).all()
    torch.testing.assert_close(q.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert q.argmax() == true_bin


@given(true_bin=st.integers(0, 999), radius=st.integers(0, 40))
def test_nothing_of_a_target_lies_beyond_its_radius(true_bin: int, radius: int) -> None:
    (q,) = make_target(true_bin, sigma=50.0, truncate=radius)
    inside = (torch.arange(1000) - true_bin).abs() <= radius
    assert ((q > 0) == inside).all()


@pytest.mark.parametrize("true_bin", [0, 1, 500, 998, 999])
@pytest.mark.parametrize("kwargs", [{"truncate": 0}, {"sigma": 1e-3}, {"sigma": 1e-200}])
def test_radius_0_or_a_tiny_sigma_is_one_hot(true_bin: int, kwargs: dict[str, float]) -> None:
    assert torch.equal(make_target(true_bin, **kwargs), one_hot(true_bin, 1000))  # type: ignore[arg-type]


def test_a_tiny_sigma_is_one_hot_in_fp32_too() -> None:
    q = make_target(7, sigma=1e-30, dtype=torch.float32)
    assert torch.equal(q, one_hot(7, 1000).float())


def test_a_huge_sigma_is_uniform() -> None:
    q = make_target(3, num_bins=4, sigma=1e9)
    torch.testing.assert_close(q, torch.full((1, 4), 0.25, dtype=torch.float64))


def test_a_target_by_hand() -> None:
    # sigma 1, radius 1, true bin 1 of 4: weights e^-0.5, 1, e^-0.5, 0 over their sum 2.213061
    #   0.606531 / 2.213061 = 0.274069   1 / 2.213061 = 0.451863
    q = make_target(1, num_bins=4, sigma=1.0, truncate=1)
    expected = torch.tensor([[0.274069, 0.451863, 0.274069, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(q, expected, atol=1e-6, rtol=0)


def test_a_target_at_the_border_is_cut_and_renormalised() -> None:
    # sigma 1, true bin 0 of 3, untruncated: 1, e^-0.5, e^-2 over their sum 1.741866
    q = make_target(0, num_bins=3, sigma=1.0)
    expected = torch.tensor([[0.574097, 0.348208, 0.077696]], dtype=torch.float64)
    torch.testing.assert_close(q, expected, atol=1e-6, rtol=0)


def test_the_two_borders_mirror_each_other() -> None:
    first, last = make_target(0, 999, sigma=3.0, truncate=16)
    torch.testing.assert_close(first, last.flip(0))
    assert (first > 0).sum() == 17


# --- soft cross-entropy ---


@given(p=distributions, q=distributions)
def test_soft_cross_entropy_is_least_at_its_target(p: Tensor, q: Tensor) -> None:
    entropy = -(q * q.log()).sum(-1)
    torch.testing.assert_close(soft_cross_entropy(q.log(), q), entropy)
    assert soft_cross_entropy(p.log(), q) >= entropy - 1e-12


def test_soft_cross_entropy_by_hand() -> None:
    # -(0.25 log 0.5 + 0.75 log 0.5) = log 2; -(0.5 log 0.8 + 0.5 log 0.2) = 0.916291
    p = torch.tensor([[0.5, 0.5], [0.8, 0.2]])
    q = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    loss = soft_cross_entropy(p.log(), q)
    torch.testing.assert_close(loss, torch.tensor([math.log(2), 0.916291]))


# --- Wasserstein-1 ---


@given(p=distributions, q=distributions)
def test_w1_is_symmetric_and_zero_only_on_equals(p: Tensor, q: Tensor) -> None:
    assert torch.equal(wasserstein1(p, q), wasserstein1(q, p))
    assert wasserstein1(p, p) == 0
    assert wasserstein1(p, q) >= 0
    if (p - q).abs().max() > 1e-9:
        assert wasserstein1(p, q) > 0


@given(p=distributions, q=distributions, r=distributions)
def test_w1_keeps_the_triangle_inequality(p: Tensor, q: Tensor, r: Tensor) -> None:
    assert wasserstein1(p, r) <= wasserstein1(p, q) + wasserstein1(q, r) + 1e-12


@given(i=st.integers(0, NUM_BINS - 1), j=st.integers(0, NUM_BINS - 1))
def test_w1_of_one_hots_is_the_distance_of_their_bins(i: int, j: int) -> None:
    assert wasserstein1(one_hot(i), one_hot(j)).item() == abs(i - j)


def test_w1_over_the_whole_axis_is_exact() -> None:
    assert wasserstein1(one_hot(0, 1000), one_hot(999, 1000)).item() == 999


@given(p=distributions, k=st.integers(0, NUM_BINS - 1))
def test_w1_to_a_one_hot_is_the_mean_distance_from_it(p: Tensor, k: int) -> None:
    distance = (torch.arange(NUM_BINS) - k).abs().double()
    torch.testing.assert_close(wasserstein1(p, one_hot(k)), (p * distance).sum(-1))


def test_w1_by_hand() -> None:
    # CDF of p: 0.5 0.75 1; of q: 0.25 0.25 1; |difference|: 0.25 + 0.5 + 0 = 0.75
    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.0, 0.75]])
    assert wasserstein1(p, q).item() == 0.75


# --- the gate ---


def gate_of(logits: Tensor, num_coord: int) -> Tensor:
    coord, rest = logits[:, :num_coord], logits[:, num_coord:]
    return coord_gate(rest.logsumexp(-1), coord.logsumexp(-1))


@given(row=finite_logits, num_coord=st.integers(1, NUM_BINS - 1), shift=st.floats(-100, 100))
def test_the_gate_is_not_negative_and_blind_to_a_constant(
    row: list[float], num_coord: int, shift: float
) -> None:
    z = torch.tensor([row], dtype=torch.float64)
    gate = gate_of(z, num_coord)
    assert gate >= 0
    torch.testing.assert_close(gate_of(z + shift, num_coord), gate, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize(("vocab", "num_coord"), [(8, 2), (1000, 1), (5000, 1000)])
def test_the_gate_on_uniform_logits_is_log_v_over_k(vocab: int, num_coord: int) -> None:
    gate = gate_of(torch.zeros(1, vocab, dtype=torch.float64), num_coord)
    assert gate.item() == pytest.approx(math.log(vocab / num_coord), rel=1e-12)


@pytest.mark.parametrize("exponent", range(13))
def test_the_gate_keeps_its_digits_in_fp32_down_to_1e_12(exponent: int) -> None:
    # Probability leak outside against 1 inside: the gate is log(1 + leak), in fp64 by log1p.
    leak = 10.0**-exponent
    lse_noncoord = torch.tensor([3.0 + math.log(leak)])
    exact = math.log1p(math.exp(lse_noncoord.double().item() - 3.0))
    assert coord_gate(lse_noncoord, torch.tensor([3.0])).item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("gap", [-40.0, -1.0, 0.0, 19.0, 21.0, 30.0])
def test_the_gate_and_its_slope_are_exact_however_much_leaks(gap: float) -> None:
    leaking = torch.tensor([gap], dtype=torch.float64, requires_grad=True)
    gate = coord_gate(leaking, torch.zeros(1, dtype=torch.float64))
    gate.backward()
    exact = max(gap, 0.0) + math.log1p(math.exp(-abs(gap)))
    slope = math.exp(min(gap, 0.0)) / (1 + math.exp(-abs(gap)))
    assert gate.item() == pytest.approx(exact, rel=1e-14)
    assert leaking.grad.item() == pytest.approx(slope, rel=1e-14)
