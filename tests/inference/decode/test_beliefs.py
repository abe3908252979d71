import math

import pytest
import torch

from coordexp.answers.belief import WINDOW_BINS
from coordexp.inference.decode.beliefs import belief_figures, coord_beliefs


def test_golden_belief() -> None:
    p = torch.zeros(1, 100)
    p[0, 50], p[0, 52], p[0, 90] = 0.5, 0.3, 0.2  # 90 is outside the window
    (belief,) = coord_beliefs(p.log(), torch.tensor([50]))
    assert belief.mass == pytest.approx(0.8)
    assert belief.mean_bin == pytest.approx((0.5 * 50 + 0.3 * 52) / 0.8)
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2))
    assert belief.entropy == pytest.approx(entropy)


@pytest.mark.parametrize("chosen", [0, 3, 99])
def test_the_window_ends_at_the_first_and_last_bin(chosen: int) -> None:
    (belief,) = coord_beliefs(torch.zeros(1, 100), torch.tensor([chosen]))
    window = range(max(0, chosen - WINDOW_BINS), min(100, chosen + WINDOW_BINS + 1))
    assert belief.mass == pytest.approx(len(window) / 100)
    assert belief.mean_bin == pytest.approx(sum(window) / len(window))
    assert belief.entropy == pytest.approx(math.log(100))


def test_a_share_of_other_tokens_lowers_the_mass_alone() -> None:
    log_p = torch.randn(3, 100).log_softmax(-1)
    chosen = log_p.argmax(-1)
    whole, part = belief_figures(log_p, chosen), belief_figures(log_p + math.log(0.25), chosen)
    torch.testing.assert_close(part[:, 0], 0.25 * whole[:, 0])
    torch.testing.assert_close(part[:, 1:], whole[:, 1:])
