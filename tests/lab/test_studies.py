"""The study files that the repository holds."""

from pathlib import Path

import pytest

from coordexp.lab.study import load_plan

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = ("confirm", "explore")


@pytest.mark.parametrize("name", NAMES)
def test_a_study_that_is_kept_can_be_run(name: str) -> None:
    assert load_plan(STUDIES / f"{name}.yaml").cells


def test_what_was_explored_is_not_confirmed_on_the_same_seeds() -> None:
    explored, confirmed = (
        {cell.seed for cell in load_plan(STUDIES / f"{name}.yaml").cells}
        for name in ("explore", "confirm")
    )
    assert explored.isdisjoint(confirmed)
    assert min(explored) >= 100


def test_what_both_studies_share_is_the_same_recipe() -> None:
    one, other = (load_plan(STUDIES / f"{name}.yaml").configs for name in NAMES)
    for name in one.keys() & other.keys():
        assert one[name] == other[name], name
