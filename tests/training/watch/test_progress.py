import errno
import json
import math
import os
import threading
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState, TrainingArguments

from coordexp.errors import CoordExpError
from coordexp.training.watch.progress import JsonlLog, ProgressBar, TensorBoardLog, restore_log

ROWS: list[dict[str, float]] = [{"loss": 2.5, "step": 1}, {"loss": math.nan, "step": 2}]


def lines(rows: list[dict[str, float]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    before = '{"step": 1, "loss": 2.5}\n' + lines(ROWS[1:])
    path.write_text(before + '{"loss": 1.0, "step": 3}\n{"loss": 0.')
    restore_log(path, ROWS)
    assert path.read_text() == before  # each line as it was written, whatever the order of its keys


@pytest.mark.parametrize(
    "there", [None, "", lines(ROWS[:1]), '{"loss": 2.5, "st', '{"loss": 7, "step": 1}\n', "\n\n"]
)
def test_a_log_that_lost_rows_gets_them_back(tmp_path: Path, there: str | None) -> None:
    path = tmp_path / "log.jsonl"
    if there is not None:
        path.write_text(there)
    restore_log(path, ROWS)
    assert path.read_text() == lines(ROWS)


def test_a_new_run_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    restore_log(path, [])
    assert not path.exists()
    path.write_text(lines(ROWS))
    restore_log(path, [])
    assert path.read_text() == ""


def test_a_log_on_a_full_disk_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    state = TrainerState(log_history=list(ROWS), is_world_process_zero=True)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CoordExpError, match=r"train_log\.jsonl cannot be written: No space left"):
        JsonlLog(tmp_path).on_log(arguments(tmp_path), state, TrainerControl())


def arguments(directory: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(directory), use_cpu=True, report_to="none")


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path: Path) -> None:
    args, control = arguments(tmp_path), TrainerControl()
    for begin, losses in ((0, (1.0, 2.0, 3.0)), (2, (30.0, 40.0))):
        log = TensorBoardLog()
        state = TrainerState(is_world_process_zero=True, global_step=begin)
        log.on_train_begin(args, state, control)
        for loss in losses:
            state.global_step += 1
            log.on_log(args, state, control, logs={"loss": loss})
        log.on_train_end(args, state, control)
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/loss")
    assert [(one.step, one.value) for one in shown] == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]


def test_the_bar_draws_when_steps_end_and_has_no_thread_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = ProgressBar(Console(stderr=True, force_terminal=True))
    state = TrainerState(max_steps=3, is_world_process_zero=True)
    threads = threading.active_count()
    bar.on_train_begin(arguments(tmp_path), state, TrainerControl())
    assert threading.active_count() == threads
    state.global_step = 2
    bar.on_step_end(arguments(tmp_path), state, TrainerControl())
    bar.stop()
    assert "2/3" in capsys.readouterr().err


def test_the_bar_shows_the_terms(tmp_path: Path) -> None:
    bar = ProgressBar(Console(stderr=True, force_terminal=True))
    terms = {"loss": 3.5, "base_ce/loss": 0.25, "coord_diag/w1": 0.125, "lr/vision": 1.0}
    state = TrainerState(log_history=[terms])
    bar.on_log(arguments(tmp_path), state, TrainerControl())
    (task,) = bar._progress.tasks
    assert task.fields["figures"] == "loss 3.5 text 0.25 W1 0.125"


def test_the_bar_of_a_text_baseline_shows_no_coord_terms(tmp_path: Path) -> None:
    bar = ProgressBar(Console(stderr=True, force_terminal=True))
    terms = {"loss": 3.5, "coord_diag/w1": 0.0, "coord_diag/enabled": 0.0}
    bar.on_log(arguments(tmp_path), TrainerState(log_history=[terms]), TrainerControl())
    (task,) = bar._progress.tasks
    assert task.fields["figures"] == "loss 3.5"


def test_a_file_gets_a_line_for_each_row_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bar, control = ProgressBar(), TrainerControl()
    state = TrainerState(max_steps=1200, is_world_process_zero=True)
    bar.on_train_begin(arguments(tmp_path), state, control)
    rows = [
        {"loss": 3.5, "base_ce/loss": 0.25},
        {"eval_loss": 2.0, "eval_runtime": 3.0},
        {"eval_detection/AP": 0.25, "eval_detection/records": 9.0},
        {"train_runtime": 9.0},
    ]
    for row in rows:
        state.global_step = 1000
        state.log_history.append(row)
        bar.on_step_end(arguments(tmp_path), state, control)
        bar.on_log(arguments(tmp_path), state, control)
    bar.stop()
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(";")[0] for line in lines] == [
        "step 1,000 of 1,200: loss 3.5, text 0.25",
        "step 1,000 of 1,200: evaluation: loss 2",
        "step 1,000 of 1,200: boxes: AP 0.25",
    ]
    assert all(line.endswith(" left") for line in lines)


def test_only_the_first_rank_writes_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = TrainerState(max_steps=3, log_history=[{"loss": 1.0}], is_world_process_zero=False)
    bar = ProgressBar()
    bar.on_train_begin(arguments(tmp_path), state, TrainerControl())
    bar.on_log(arguments(tmp_path), state, TrainerControl())
    assert capsys.readouterr().err == ""
