from dataclasses import replace

from coordexp.lab.report import ap_by_size
from coordexp.lab.results import Line
from coordexp.lab.study import Cell

ENDED = Line(
    study="s",
    task="known",
    size=0,
    recipe="soft",
    seed=0,
    base="expanded",
    heldout=2,
    digest="abc",
    commit=None,
    cost={},
    figures={},
    problem=None,
)


def lines(*rows: tuple[str, str, int, int, dict[str, float] | None]) -> dict[Cell, Line | None]:
    """Return lines by cell; without figures a run has failed."""
    return {
        Cell(seed=seed, task=task, size=size, recipe=recipe): replace(
            ENDED,
            figures={} if aps is None else {name: {"AP": ap} for name, ap in aps.items()},
            problem="out of memory" if aps is None else None,
        )
        for task, recipe, size, seed, aps in rows
    }


def test_a_curve_is_the_mean_over_seeds_at_each_size_from_small_to_large() -> None:
    found = lines(
        ("known", "soft", 500, 0, {"token": 0.5}),
        ("known", "soft", 100, 0, {"token": 0.1}),
        ("known", "soft", 500, 1, {"token": 0.7}),
    )
    assert ap_by_size(found) == {"known": {"soft": [(100.0, 0.1), (500.0, 0.6)]}}


def test_every_way_of_asking_has_its_own_curve_and_token_is_no_must() -> None:
    found = lines(
        ("known", "soft", 100, 0, {"expectation": 0.1}),
        ("known", "soft", 500, 0, {"expectation": 0.2}),
    )
    assert ap_by_size(found) == {"known": {"soft/expectation": [(100.0, 0.1), (500.0, 0.2)]}}


def test_one_size_is_no_curve() -> None:
    found = lines(
        ("known", "soft", 100, 0, {"token": 0.1}),
        ("new-looks", "soft", 100, 0, {"token": 0.1}),
        ("new-looks", "soft", 500, 0, {"token": 0.2}),
        ("new-looks", "stock", 500, 0, {"token": 0.2}),
    )
    assert list(ap_by_size(found)) == ["new-looks"]
    assert list(ap_by_size(found)["new-looks"]) == ["soft"]


def test_runs_that_failed_or_are_not_there_draw_nothing() -> None:
    found = lines(("known", "soft", 100, 0, {"token": 0.1}), ("known", "soft", 500, 0, None))
    found[Cell(seed=0, task="known", size=900, recipe="soft")] = None
    assert ap_by_size(found) == {}
