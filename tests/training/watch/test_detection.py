import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp.config.schema import Config
from coordexp.errors import RecordError
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.stage1 import train
from coordexp.training.watch import detection
from coordexp.training.watch.detection import Detection, build_detection, keep_best, known_summary
from tests.training.keep.test_resume import untimed_rows

MakeConfig = Callable[..., Config]


def measured(run: Path, **aps: float | None) -> None:
    """Write what was measured at steps, and their checkpoints."""
    for name, ap in aps.items():
        step = int(name.removeprefix("step"))
        folder = run / "detection" / f"step-{step}"
        folder.mkdir(parents=True)
        figures = {"F1": 0.5} if ap is None else {"AP": ap, "F1": 0.5}
        (folder / "detection.json").write_text(json.dumps({"step": step, "figures": figures}))
        checkpoint = run / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "adapter_model.safetensors").write_text(f"weights {step}")
        for state in ("optimizer.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"):
            (checkpoint / state).write_text("state")


def best(run: Path) -> str:
    return (run / "best" / "adapter_model.safetensors").read_text()


def test_the_best_is_kept_without_what_only_training_needs(tmp_path: Path) -> None:
    measured(tmp_path, step2=0.25)
    keep_best(tmp_path)
    assert best(tmp_path) == "weights 2"
    names = {path.name for path in (tmp_path / "best").iterdir()}
    assert names == {"adapter_model.safetensors", "detection.json"}
    measured(tmp_path, step4=0.25, step6=0.5, step8=0.125)
    keep_best(tmp_path)
    assert best(tmp_path) == "weights 6"
    said = json.loads((tmp_path / "best" / "detection.json").read_text())
    assert said == {"step": 6, "figures": {"AP": 0.5, "F1": 0.5}}
    assert not (tmp_path / ".partial").exists()


def test_where_all_is_points_the_best_has_most_of_them(tmp_path: Path) -> None:
    for step, points in ((2, 0.5), (4, 0.75), (6, 0.25)):
        measured(tmp_path, **{f"step{step}": None})
        path = tmp_path / "detection" / f"step-{step}" / "detection.json"
        path.write_text(json.dumps({"step": step, "figures": {"points": points}}))
    keep_best(tmp_path)
    assert best(tmp_path) == "weights 4"


def test_equals_and_the_unmeasured_change_nothing(tmp_path: Path) -> None:
    measured(tmp_path, step2=None)
    keep_best(tmp_path)
    assert not (tmp_path / "best").exists()
    measured(tmp_path, step4=0.5, step6=0.5)
    keep_best(tmp_path)
    assert best(tmp_path) == "weights 4"


def test_a_killed_measurement_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "detection" / "step-2").mkdir(parents=True)
    assert known_summary(tmp_path, 2) is None


@pytest.mark.parametrize(
    ("wanted", "indices"), [(2, (0, 3)), (4, (0, 1, 3, 4)), (100, (0, 1, 2, 3, 4, 5))]
)
def test_records_are_spread_over_the_file(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, wanted: int, indices: tuple[int, ...]
) -> None:
    config = make_config(
        tmp_path,
        data={"eval": str(scenes)},
        training={"save_strategy": "steps", "detection_eval": {"steps": 500, "records": wanted}},
    )
    assert build_detection(config) == Detection(tmp_path, scenes, indices, 500)


def test_it_is_off_unless_asked_for(make_config: MakeConfig, scenes: Path, tmp_path: Path) -> None:
    assert build_detection(make_config(tmp_path, data={"eval": str(scenes)})) is None


def test_chats_cannot_be_scored(make_config: MakeConfig, scenes: Path, tmp_path: Path) -> None:
    chats = scenes.with_name("chats.jsonl")
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    chats.write_text(json.dumps({"messages": said}) + "\n")
    config = make_config(
        tmp_path,
        data={"eval": str(chats)},
        training={"save_strategy": "steps", "detection_eval": {"steps": 500}},
    )
    with pytest.raises(RecordError, match=r"chats\.jsonl:1"):
        build_detection(config)


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.mark.slow
def test_a_run_killed_around_an_evaluation_ends_alike(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "_LONGEST_ANSWER", 24)
    saving = {"save_strategy": "steps", "save_steps": 1, "logging_steps": 1, "max_steps": 2}
    settings: dict[str, Any] = {
        "training": {**saving, "detection_eval": {"steps": 1, "records": 2}},
        "data": {"train": str(scenes), "eval": str(scenes)},
        "tuner": {"lora_dropout": 0.1},
    }
    config = make_config(tmp_path / "run", **settings)
    for place in ("measure", "keep_best"):

        def die(*_: object) -> None:
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(detection, place, die)
            with pytest.raises(KilledError):
                train(config)
    run = train(config)
    assert "<svg" in (run / "detection" / "step-1" / "report.html").read_text()
    assert (run / "best" / "coordexp.json").exists()
    # The run without evaluations: the same bits, and the same log but for their lines.
    plain = train(make_config(tmp_path / "plain", **{**settings, "training": saving}))
    weights = "adapter_model.safetensors"
    assert (run / weights).read_bytes() == (plain / weights).read_bytes()
    rows = untimed_rows(run)
    assert [row for row in rows if "eval_detection/F1" not in row] == untimed_rows(plain)
    found = [
        (row["step"], row["eval_detection/records"], place)
        for place, row in enumerate(rows)
        if "eval_detection/F1" in row
    ]
    assert found == [(1, 2.0, 1), (2, 2.0, 3)]


@pytest.mark.slow
def test_a_run_ends_where_ap_no_longer_rises_and_so_it_does_when_it_was_killed_there(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(asked: Detection, step: int) -> dict[str, float]:
        figures = {"AP": {1: 0.25, 2: 0.5, 3: 0.5, 4: 0.25}[step]}
        folder = asked.run / "detection" / f"step-{step}"
        folder.mkdir(parents=True)
        (folder / "detection.json").write_text(json.dumps({"step": step, "figures": figures}))
        return figures

    monkeypatch.setattr(detection, "measure", measure)
    saving = {"save_strategy": "steps", "save_steps": 1, "logging_steps": 1, "max_steps": 9}
    config = make_config(
        tmp_path / "run",
        training={**saving, "detection_eval": {"steps": 1, "records": 2, "patience": 2}},
        data={"train": str(scenes), "eval": str(scenes)},
    )
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise KilledError

        patch.setattr(CoordTrainer, "save_final", die)
        with pytest.raises(KilledError):
            train(config)
    run = train(config)
    steps = [row["step"] for row in untimed_rows(run) if "loss" in row]
    assert steps == [1, 2, 3, 4]
    weights = "adapter_model.safetensors"
    assert (run / weights).read_bytes() == (run / "checkpoint-4" / weights).read_bytes()
    assert json.loads((run / "best" / "detection.json").read_text())["step"] == 2
