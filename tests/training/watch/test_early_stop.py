import pytest

from coordexp.training.watch.early_stop import is_stale


@pytest.mark.parametrize(
    ("aps", "patience", "stale"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # an equal one is no higher one
        ([0.5, 0.25, 0.75], 2, False),
        ([0.75, 0.25, 0.5], 2, True),
        ([0.75, 0.25, 0.5], 3, False),
        ([None, None, None], 2, True),
        ([None, 0.0], 1, False),
    ],
)
def test_a_run_is_stale_when_the_best_is_long_ago(
    aps: list[float | None], patience: int, stale: bool
) -> None:
    assert is_stale(aps, patience=patience) == stale
