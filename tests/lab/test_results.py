from dataclasses import replace
from pathlib import Path

from coordexp.lab.results import Line, append_line, load_lines, recipe_digest

LINE = Line(
    study="s",
    task="known",
    size=100,
    recipe="soft",
    seed=0,
    base="expanded",
    heldout=200,
    digest="abc",
    commit="123",
    cost={"train": {"cpu_seconds": 1.5, "peak_mb": 900.0}},
    figures={"token": {"AP": 0.5}},
    problem=None,
)


def test_a_line_comes_back_as_it_was() -> None:
    assert Line.from_json(LINE.to_json()) == LINE


def test_the_last_line_of_a_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.jsonl"
    failed = replace(LINE, figures={}, problem="out of memory")
    for line in (failed, replace(LINE, seed=1), LINE):
        append_line(path, line)
    assert len(path.read_text("utf-8").splitlines()) == 3
    assert sorted(load_lines(path).values(), key=lambda line: line.seed) == [
        LINE,
        replace(LINE, seed=1),
    ]


def test_there_are_no_lines_where_there_is_no_file(tmp_path: Path) -> None:
    assert load_lines(tmp_path / "none.jsonl") == {}


def test_the_digest_is_of_what_a_recipe_says_and_not_of_the_order() -> None:
    one, same = {"a": 1, "b": {"c": 2}}, {"b": {"c": 2}, "a": 1}
    assert recipe_digest(one) == recipe_digest(same)
    assert recipe_digest(one) != recipe_digest({"a": 1, "b": {"c": 3}})
