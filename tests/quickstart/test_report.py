import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.quickstart.outcome import compare_contenders
from coordexp.quickstart.report import QuickstartReportInputs, clear_told, write_quickstart_report
from tests.quickstart.fake_run import load_fake_run, write_fake_run
from tests.viewing.chromium import check_page, external_urls
from tests.viewing.hostile import EVIL, NAME, check_words_stay_words


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordexp.lab.compare.RESAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def inputs(folder: Path) -> QuickstartReportInputs:
    return write_fake_run(folder)


@pytest.fixture(scope="module")
def page(inputs: QuickstartReportInputs, folder: Path) -> Path:
    write_quickstart_report(folder / "report.html", inputs)
    return folder / "report.html"


def test_the_page_holds_every_section_and_loads_nothing(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    for heading in (
        "Result",
        "Held-out pictures",
        "What the model believes",
        "Training",
        "What it cost",
        "The same on your data",
    ):
        assert f"<h2>{heading}</h2>" in html
    assert external_urls(html) == []


def test_the_first_line_says_who_wins_by_how_much(
    page: Path, inputs: QuickstartReportInputs
) -> None:
    html = page.read_text(encoding="utf-8")
    assert f"<h1>{compare_contenders(inputs.coord, inputs.integers).headline()}</h1>" in html
    aps = [f"{one.metrics['bbox']['AP']:.3f}" for one in inputs.contenders]
    assert f"AP {aps[2]} against {aps[1]}, and {aps[0]} of the base as it is" in html
    assert f"<dt>AP</dt><dd>{aps[2]}<small>integers {aps[1]}, base {aps[0]}" in html


def test_what_is_told_apart_is_said_in_words_and_nothing_else_is(
    inputs: QuickstartReportInputs,
) -> None:
    said = clear_told(compare_contenders(inputs.coord, inputs.integers))
    assert "AP75, " in said
    assert "in favour of coord tokens" in said
    assert "F1@0.95" not in said
    assert "in favour of integers" in clear_told(compare_contenders(inputs.integers, inputs.coord))
    assert clear_told(compare_contenders(inputs.coord, inputs.coord)).startswith("No figure")


def test_costs_are_those_of_the_runs_and_the_graft_s_are_told_apart(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "171 CPU seconds in coord tokens" in html
    assert "7 minutes of one core" in html
    assert "3,600 pictures of digits" in html
    assert "Base: All predictions have the same score" in html
    assert "coordexp train --config mine.yaml" in html


def test_three_answers_stand_side_by_side(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert html.count('<div class="row n3">') == 8
    for name in ("Base", "Integers", "Coord"):
        assert html.count(f"<b>{name}</b>") == 8


def test_terms_that_were_not_logged_have_no_chart(
    inputs: QuickstartReportInputs, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0, "epoch": "x"}\n')
    coord, integers = (replace(one, train_log=log) for one in (inputs.coord, inputs.integers))
    write_quickstart_report(tmp_path / "r.html", replace(inputs, coord=coord, integers=integers))
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Total loss" in html
    assert "Wasserstein-1" not in html
    assert "Learning rates" not in html


def test_missing_pictures_are_counted(
    inputs: QuickstartReportInputs, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "data/images/000001.png").unlink()
    moved = replace(load_fake_run(tmp_path), beliefs=inputs.beliefs)
    write_quickstart_report(tmp_path / "r.html", moved)
    assert "1 of 8 pictures could not be shown" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "runs/coord/checkpoint/train_log.jsonl",
            '{"loss": 1}\n',
            r"train_log\.jsonl:1: expected an object with a step",
        ),
        ("runs/coord/token/metrics.json", "{", r"metrics\.json:1: not JSON"),
        ("beliefs.json", None, r"beliefs\.json: cannot be read"),
    ],
)
@pytest.mark.usefixtures("inputs")
def test_a_broken_file_is_named_and_no_page_is_written(
    folder: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write_quickstart_report(tmp_path / "r.html", load_fake_run(tmp_path))
    assert not (tmp_path / "r.html").exists()


@pytest.mark.usefixtures("inputs")
def test_words_of_the_run_stay_words(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "data" / NAME).write_bytes((tmp_path / "data/images/000001.png").read_bytes())
    for side in ("base", "integers", "coord"):
        path = tmp_path / "runs" / side / "token" / "predictions.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[0]["image"] = NAME
        rows[0]["gt"][0]["desc"] = EVIL
        rows[0]["parse"]["status"] = "salvaged"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        metrics = json.loads((path.parent / "metrics.json").read_text())
        metrics["scores"]["warning"] = EVIL
        (path.parent / "metrics.json").write_text(json.dumps(metrics))
    beliefs = json.loads((tmp_path / "beliefs.json").read_text())
    beliefs[0] |= {"image": NAME, "object": EVIL}
    (tmp_path / "beliefs.json").write_text(json.dumps(beliefs))
    evil = replace(load_fake_run(tmp_path), commands=[(EVIL, EVIL)])
    write_quickstart_report(tmp_path / "r.html", evil)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    check_words_stay_words(html, EVIL, times=5)
    check_words_stay_words(html, f"“{EVIL}” in {NAME}", f"Base: {EVIL}", f"Coord: {EVIL}")


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_renders_without_a_word_on_the_console(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path)
