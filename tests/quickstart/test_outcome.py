import pytest

from coordexp.lab.compare import Difference
from coordexp.quickstart.outcome import Outcome


def outcome(gap: float, interval: tuple[float, float] | None) -> Outcome:
    found = Difference(figure="AP", this=0.5 + gap, other=0.5, interval=interval, seeds=1)
    return Outcome({"AP": found})


def test_a_win_is_told_with_its_interval() -> None:
    said = outcome(0.064, (0.031, 0.097))
    assert said.headline() == "Coord tokens beat integers by 0.064 AP (0.031 to 0.097)"
    assert said.sign("AP") == 1


def test_a_defeat_is_told_first_and_as_large_as_it_is() -> None:
    said = outcome(-0.03, (-0.055, -0.005))
    assert said.headline() == (
        "Coord tokens do not win: integers are 0.030 AP ahead (0.005 to 0.055)"
    )
    assert said.sign("AP") == -1


@pytest.mark.parametrize(("gap", "place"), [(0.01, "ahead of"), (-0.01, "behind")])
def test_what_the_interval_does_not_tell_apart_is_no_win(gap: float, place: str) -> None:
    said = outcome(gap, (-0.02, 0.04))
    assert said.headline() == (
        f"Coord tokens do not win: 0.010 AP {place} integers is too little to tell "
        "(-0.020 to +0.040)"
    )
    assert said.sign("AP") == 0


@pytest.mark.parametrize("interval", [(0.0, 0.1), (-0.1, 0.0)])
def test_an_interval_that_touches_zero_is_no_win(interval: tuple[float, float]) -> None:
    assert outcome(0.01, interval).sign("AP") == 0
    assert "do not win" in outcome(0.01, interval).headline()


def test_where_nothing_can_be_measured_nobody_wins() -> None:
    said = outcome(0.0, None)
    assert "do not win" in said.headline()
    assert said.sign("AP") == 0
