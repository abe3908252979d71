import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.quickstart.report import QuickstartReportInputs, Stage, write_quickstart_report
from tests.quickstart.fake_run import write_fake_run
from tests.viewing.chromium import check_page, external_urls
from tests.viewing.hostile import EVIL, NAME, check_words_stay_words


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> QuickstartReportInputs:
    return write_fake_run(tmp_path_factory.mktemp("quickstart"))


@pytest.fixture(scope="module")
def page(inputs: QuickstartReportInputs) -> Path:
    out = inputs.after.parent / "report.html"
    write_quickstart_report(out, inputs)
    return out


def test_the_page_holds_every_section_and_loads_nothing(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    for heading in (
        "Result",
        "Held-out scenes",
        "Training",
        "What the model believes",
        "Classes",
        "Time and memory",
        "The same on your data",
    ):
        assert f"<h2>{heading}</h2>" in html
    assert external_urls(html) == []


def test_figures_notes_and_commands_are_those_of_the_run(
    page: Path, inputs: QuickstartReportInputs
) -> None:
    html = page.read_text(encoding="utf-8")
    metrics = json.loads((inputs.after / "metrics.json").read_text())
    assert f"<dt>AP</dt><dd>{metrics['bbox']['AP']:.3f}<small>before: " in html
    assert "say little about a large one" in html
    assert "coordexp train --config" in html
    assert "3 min 51 s" in html
    assert "Before: All predictions have the same score" in html


def test_scenes_stand_in_pairs(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert html.count('<div class="row n2">') == 8
    assert html.count("<b>Before</b>") == html.count("<b>After</b>") == 8


def test_without_a_before_only_the_after_is_shown(
    inputs: QuickstartReportInputs, tmp_path: Path
) -> None:
    alone = replace(inputs, before=None, distributions=None, stages=(), notes=())
    write_quickstart_report(tmp_path / "r.html", alone)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert '<div class="row n1">' in html
    assert "before" not in html.lower().split("</style>")[1].split("<script>")[0]
    assert "What the model believes" not in html


def test_terms_that_were_not_logged_have_no_chart(
    inputs: QuickstartReportInputs, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0, "epoch": "x"}\n')
    alone = replace(inputs, before=None, distributions=None, train_log=log)
    write_quickstart_report(tmp_path / "r.html", alone)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Total loss" in html
    assert "Wasserstein-1" not in html


def moved(inputs: QuickstartReportInputs, folder: Path) -> QuickstartReportInputs:
    """Return the same run in a folder of its own."""
    shutil.copytree(inputs.after.parent, folder, dirs_exist_ok=True)
    return replace(
        inputs,
        before=folder / "before",
        after=folder / "after",
        train_log=folder / "train_log.jsonl",
        distributions=folder / "distributions.json",
    )


def test_missing_pictures_are_counted(inputs: QuickstartReportInputs, tmp_path: Path) -> None:
    run = moved(inputs, tmp_path)
    (tmp_path / "data/images/000001.png").unlink()
    write_quickstart_report(tmp_path / "r.html", replace(run, distributions=None))
    assert "1 of 8 scenes could not be shown" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train_log.jsonl", '{"loss": 1}\n', r"train_log\.jsonl:1: expected an object with a step"),
        ("after/metrics.json", "{", r"metrics\.json:1: not JSON"),
        ("distributions.json", None, r"distributions\.json: cannot be read"),
    ],
)
def test_a_broken_file_is_named_and_no_page_is_written(
    inputs: QuickstartReportInputs, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    run = moved(inputs, tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write_quickstart_report(tmp_path / "r.html", run)
    assert not (tmp_path / "r.html").exists()


def test_words_of_the_run_stay_words(inputs: QuickstartReportInputs, tmp_path: Path) -> None:
    run = moved(inputs, tmp_path)
    (tmp_path / "data" / NAME).write_bytes((tmp_path / "data/images/000001.png").read_bytes())
    for side in ("before", "after"):
        path = tmp_path / side / "predictions.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[0]["image"] = NAME
        rows[0]["gt"][0]["desc"] = EVIL
        rows[0]["parse"]["status"] = "salvaged"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        metrics = json.loads((tmp_path / side / "metrics.json").read_text())
        metrics["per_class"][0]["class"] = EVIL
        metrics["scores"]["warning"] = EVIL
        (tmp_path / side / "metrics.json").write_text(json.dumps(metrics))
    beliefs = json.loads((tmp_path / "distributions.json").read_text())
    beliefs[0] |= {"image": NAME, "object": EVIL}
    (tmp_path / "distributions.json").write_text(json.dumps(beliefs))
    evil = replace(run, title=EVIL, notes=[EVIL], stages=[Stage(EVIL, 1.0, None, EVIL)])
    write_quickstart_report(tmp_path / "r.html", evil)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    check_words_stay_words(html, EVIL, times=9)
    check_words_stay_words(html, f"“{EVIL}” in {NAME}", f"Before: {EVIL}", f"After: {EVIL}")


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_renders_without_a_word_on_the_console(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path)
