import json
from pathlib import Path

import pytest

from coordexp.errors import CoordExpError, InputError
from coordexp.lab.study import load_plan
from coordexp.quickstart import pipeline

SHORT = "training: {max_steps: 2, per_device_train_batch_size: 2, logging_steps: 1}\n"
KEPT = Path(__file__).parents[2] / "studies" / "confirm.yaml"


@pytest.fixture
def short_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a study of seconds in the quickstart's place; return a folder for it."""
    text = pipeline.STUDY.read_text("utf-8")
    for name in ("every.yaml", "quickstart.yaml"):
        text = text.replace(f"[{name}]", f"['{pipeline.STUDY.parent / name}', short.yaml]")
    for long, short in (("heldout: 200", "heldout: 3\nmax_new_tokens: 8"), ("[1920]", "[4]")):
        assert long in text
        text = text.replace(long, short)
    (tmp_path / "short.yaml").write_text(SHORT)
    (tmp_path / "study.yaml").write_text(text)
    monkeypatch.setattr(pipeline, "STUDY", tmp_path / "study.yaml")
    monkeypatch.setattr("coordexp.lab.compare.RESAMPLES", 20)
    return tmp_path / "quickstart"


@pytest.mark.slow
def test_the_quickstart_leaves_every_stage_behind_and_is_not_run_twice(
    short_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.run_quickstart(short_study)
    answers = {"base": "token", "integers": "token", "coord-tokens": "expectation"}
    for recipe, answer in answers.items():
        run = short_study / "runs/new-looks/4" / recipe / "seed-0"
        assert len((run / answer / "predictions.jsonl").read_text().splitlines()) == 3
        assert "AP" in json.loads((run / answer / "metrics.json").read_text())["bbox"]
        assert (run / "merged/coordexp_certificate.json").exists() == (recipe != "base")
    said = capsys.readouterr().out
    assert str(short_study / "report.html") in said
    assert said.count(": coordexp train --config") == 2
    assert said.count(": coordexp merge") == 2
    page = (short_study / "report.html").read_text()
    assert "Coord tokens do not win" in page

    (short_study / "report.html").unlink()
    pipeline.run_quickstart(short_study)
    assert "coordexp train" not in capsys.readouterr().out
    assert (short_study / "report.html").exists()


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no quickstart"):
        pipeline.run_quickstart(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no quickstart"):
        pipeline.run_quickstart(tmp_path / "thesis.txt")


@pytest.mark.parametrize(
    "mark", [b'{"made_by": "coordexp quickstart"}', b"[]", b"cut off", b"\xff"]
)
def test_another_version_s_quickstart_is_not_mixed_with_this_one(
    tmp_path: Path, mark: bytes
) -> None:
    (tmp_path / pipeline.MARKER).write_bytes(mark)
    with pytest.raises(InputError, match="another version's quickstart"):
        pipeline.run_quickstart(tmp_path)


def test_a_run_that_fails_is_told_and_there_is_no_page(
    short_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run_study", lambda *_, **__: False)
    with pytest.raises(CoordExpError, match=r"log\.txt"):
        pipeline.run_quickstart(short_study)
    assert not (short_study / "report.html").exists()


def test_its_recipes_are_those_that_the_study_confirms() -> None:
    own, kept = load_plan(pipeline.STUDY), load_plan(KEPT)
    names = {"integers": "integers", "coord-tokens": "hard-calm"}
    shorter = {"max_steps", "learning_rate", "logging_steps"}
    kept_besides = {"report_to", "save_strategy", "save_steps", "save_total_limit"}
    for mine, theirs in names.items():
        one, other = own.configs[mine], kept.configs[theirs]
        assert one["tuner"] == other["tuner"]
        assert one["custom"] == other["custom"]
        for key in {"output_dir"} | shorter | kept_besides:
            for config in (one, other):
                config["training"].pop(key, None)
        assert one["training"] == other["training"]


def test_a_training_step_sees_every_picture_once() -> None:
    plan = load_plan(pipeline.STUDY)
    for recipe in ("integers", "coord-tokens"):
        training = plan.configs[recipe]["training"]
        steps = training["max_steps"] * training["per_device_train_batch_size"]
        assert {cell.size for cell in plan.cells} == {steps}
