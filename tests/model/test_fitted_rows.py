import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.model.fitted_rows import Places, fit_coord_rows, wave_basis

BINS, WIDTH, TEXT = 40, 16, 30


def places(count: int, *, seed: int = 0, noise: float = 0.05) -> tuple[Places, Tensor]:
    """Return hidden states that hold a number linearly, as in a base, and rows of text.

    A number is there as its first waves, so that a linear map can read it.
    """
    base = torch.Generator().manual_seed(99)
    carrier = torch.randn(8, WIDTH, generator=base)
    text = torch.randn(TEXT, WIDTH, generator=base)
    rng = torch.Generator().manual_seed(seed)
    bins = torch.randint(BINS, (count,), generator=rng)
    waves = wave_basis(BINS, 7)
    hidden = 3 * waves[bins] @ carrier + noise * torch.randn(count, WIDTH, generator=rng)
    elsewhere = 3 * torch.randn(count, WIDTH, generator=rng)
    return Places(hidden=hidden, bins=bins, elsewhere=elsewhere), text


def fit(at: Places, text: Tensor, **changes: float) -> Tensor:
    settings = {"waves": 20, "sigma": 1.0, "decay": 1e-3, "iterations": 40} | changes
    return fit_coord_rows(at, text, num_bins=BINS, **settings)  # type: ignore[arg-type]


def test_rows_read_numbers_that_they_were_not_fitted_to() -> None:
    train, text = places(600)
    rows = fit(train, text)
    other, _ = places(200, seed=1)
    error = ((other.hidden @ rows.T).argmax(-1) - other.bins).abs().float()
    assert rows.shape == (BINS, WIDTH)
    assert error.median() <= 1


def test_a_number_is_taken_for_a_coord_token_and_text_for_text() -> None:
    at, text = places(600)
    rows = fit(at, text)
    mass = torch.cat([at.hidden @ text.T, at.hidden @ rows.T], dim=1).softmax(-1)[:, TEXT:].sum(-1)
    leak = torch.cat([at.elsewhere @ text.T, at.elsewhere @ rows.T], dim=1).softmax(-1)
    assert mass.mean() > 0.9
    assert leak[:, TEXT:].sum(-1).mean() < 0.1


def test_neighbours_are_alike() -> None:
    at, text = places(600)
    rows = fit(at, text)
    step = (rows[1:] - rows[:-1]).norm(dim=1).mean()
    assert step < 0.5 * (rows - rows.mean(0)).norm(dim=1).mean()


def test_more_decay_makes_shorter_rows() -> None:
    at, text = places(300)
    loose, tight = fit(at, text, decay=1e-4), fit(at, text, decay=1e-1)
    assert tight.norm(dim=1).mean() < loose.norm(dim=1).mean()


def test_the_same_places_give_the_same_rows() -> None:
    at, text = places(100)
    assert torch.equal(fit(at, text), fit(at, text))


def test_nothing_else_than_numbers_is_enough() -> None:
    at, text = places(100)
    alone = Places(hidden=at.hidden, bins=at.bins, elsewhere=torch.zeros(0, WIDTH))
    assert fit(alone, text).isfinite().all()


def test_no_number_is_refused() -> None:
    _, text = places(1)
    nothing = torch.zeros(0, WIDTH)
    with pytest.raises(CoordExpError, match="no number"):
        fit(Places(nothing, torch.zeros(0, dtype=torch.long), nothing), text)


def test_a_base_that_is_not_finite_is_named() -> None:
    at, text = places(50)
    broken = Places(at.hidden.fill_(float("nan")), at.bins, at.elsewhere)
    with pytest.raises(CoordExpError, match="not finite"):
        fit(broken, text)


@given(bins=st.integers(2, 50), waves=st.integers(1, 20))
def test_waves_cross_each_other_at_right_angles(bins: int, waves: int) -> None:
    basis = wave_basis(bins, min(waves, bins - 1)).double()
    products = basis.T @ basis
    apart = products - torch.diag(products.diagonal())
    assert apart.abs().max() < 1e-4 * bins
