import numpy as np
import pytest

from coordexp.evaluation.measure.bootstrap import Resampled
from coordexp.lab.compare import difference

DRAWS = 400


def runs(means: dict[int, float], *, spread: float = 0.0, noise: int = 0) -> dict[int, Resampled]:
    """Return made-up runs; runs with the same noise have the same lucky draws of pictures."""
    luck = np.random.default_rng(noise).normal(0, spread, DRAWS)
    return {
        seed: Resampled(actual={"AP": mean}, drawn={"AP": mean + luck})
        for seed, mean in means.items()
    }


def test_what_is_hard_for_both_cancels_out() -> None:
    this = runs({0: 0.52, 1: 0.53, 2: 0.51}, spread=0.1)
    other = runs({0: 0.50, 1: 0.51, 2: 0.49}, spread=0.1)
    found = difference(this, other, "AP")
    assert found is not None
    assert found.interval == pytest.approx((0.02, 0.02))
    assert found.words == "better"


def test_a_recipe_against_itself_is_not_told_apart() -> None:
    both = runs({0: 0.5, 1: 0.6, 2: 0.4}, spread=0.1)
    found = difference(both, both, "AP")
    assert found is not None
    assert found.words == "not told apart"
    assert found.this == found.other


def test_seeds_that_disagree_widen_the_interval() -> None:
    other = runs(dict.fromkeys(range(5), 0.5))
    calm = difference(runs({0: 0.52, 1: 0.52, 2: 0.52, 3: 0.52, 4: 0.52}), other, "AP")
    wild = difference(runs({0: 0.72, 1: 0.32, 2: 0.62, 3: 0.42, 4: 0.52}), other, "AP")
    assert calm is not None
    assert wild is not None
    assert wild.interval is not None
    assert calm.words == "better"
    assert wild.words == "not told apart"
    assert wild.interval[1] - wild.interval[0] > 0.2


def test_only_seeds_that_both_have_are_compared() -> None:
    this = runs({0: 0.9, 1: 0.9, 7: 0.0})
    other = runs({0: 0.5, 1: 0.5, 8: 1.0})
    found = difference(this, other, "AP")
    assert found is not None
    assert found.seeds == 2
    assert (found.this, found.other) == (0.9, 0.5)


def test_one_seed_supports_no_verdict() -> None:
    found = difference(runs({0: 0.9}, spread=0.01), runs({0: 0.1}, spread=0.01), "AP")
    assert found is not None
    assert found.words == "one seed"


def test_recipes_without_a_common_seed_are_not_compared() -> None:
    assert difference(runs({0: 0.9}), runs({1: 0.1}), "AP") is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Five seeds from one normal distribution: no difference, so few intervals miss zero."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        this = runs(dict(enumerate(rng.normal(0.5, 0.02, 5).tolist())))
        other = runs(dict(enumerate(rng.normal(0.5, 0.02, 5).tolist())))
        found = difference(this, other, "AP")
        assert found is not None
        missed += found.words != "not told apart"
    # A percentile interval over five seeds is a little short, widened though it is.
    assert missed / 200 < 0.15
