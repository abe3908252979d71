import json
from pathlib import Path

from coordexp.training.run.ending import closing_words
from tests.training.conftest import MakeConfig


def test_a_run_ends_with_the_next_command(make_config: MakeConfig, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    (line,) = closing_words(make_config(run))
    assert line == f"next: coordexp merge '{run}' '{run}-merged'"


def test_the_best_weights_are_what_comes_next(make_config: MakeConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    summary = {"step": 300, "figures": {"AP": 0.51234}}
    (run / "best" / "detection.json").write_text(json.dumps(summary))
    assert closing_words(make_config(run)) == [
        f"AP 0.512 at step 300, the best: {run}/best",
        f"next: coordexp merge {run}/best {run}-merged",
    ]


def test_a_whole_model_is_asked_as_it_is(make_config: MakeConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = make_config(run, tuner={"train_type": "full"}, data={"eval": "val.jsonl"})
    (line,) = closing_words(config)
    predict = f"coordexp predict --model {run} --data val.jsonl --out {run}/predictions.jsonl"
    assert line == f"next: {predict}"
