import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers.belief import belief_of_listed
from coordexp.inference.decode.beliefs import belief_figures


@given(st.lists(st.floats(-6, 6), min_size=40, max_size=40), st.integers(0, 39))
def test_with_every_bin_listed_it_is_what_the_logits_say(logits: list[float], chosen: int) -> None:
    log_p = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)
    listed = {k: math.exp(value) for k, value in enumerate(log_p.tolist())}
    belief = belief_of_listed(chosen, listed)
    ((mass, entropy, mean),) = belief_figures(log_p[None], torch.tensor([chosen])).tolist()
    assert belief.mass == pytest.approx(mass, abs=1e-9)
    assert belief.entropy == pytest.approx(entropy, abs=1e-9)
    assert belief.mean_bin == pytest.approx(mean, abs=1e-6)


def test_what_is_not_listed_counts_as_nothing() -> None:
    belief = belief_of_listed(5, {5: 0.5, 7: 0.25, 400: 0.125})
    assert belief.mass == pytest.approx(0.75)
    assert belief.mean_bin == pytest.approx((0.5 * 5 + 0.25 * 7) / 0.75)


def test_a_choice_without_any_probability_is_its_own_mean() -> None:
    belief = belief_of_listed(5, {5: 0.0})
    assert (belief.mass, belief.entropy, belief.mean_bin) == (0.0, 0.0, 5.0)
