from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.errors import CheckpointError, InputError
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import Backend, PredictOptions
from tests.inference.plainly import plainly

OPTIONS = plainly(batch_size=1, max_new_tokens=9)


def comes_to_the_model(folder: Path, options: PredictOptions) -> bool:
    """Whether a run is let past what lies at its output; there is no model behind it."""
    with pytest.raises(InputError) as caught:
        run_predict(folder / "no-model", folder / "d.jsonl", folder / "p.jsonl", options)
    return isinstance(caught.value, CheckpointError)


def test_predictions_that_are_there_are_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    assert comes_to_the_model(tmp_path, OPTIONS)
    (tmp_path / "p.jsonl").write_text("mine")
    assert not comes_to_the_model(tmp_path, OPTIONS)
    assert (tmp_path / "p.jsonl").read_text() == "mine"
    assert comes_to_the_model(tmp_path, replace(OPTIONS, overwrite=True))


def test_a_run_that_was_stopped_goes_on_unasked(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("of the run before")
    (tmp_path / "p.jsonl.part0").write_text("")
    assert comes_to_the_model(tmp_path, OPTIONS)


def test_coco_results_are_asked_about_too(tmp_path: Path) -> None:
    options = replace(OPTIONS, coco=tmp_path / "coco.json")
    assert comes_to_the_model(tmp_path, options)
    (tmp_path / "coco.json").write_text("[]")
    assert not comes_to_the_model(tmp_path, options)
    assert comes_to_the_model(tmp_path, replace(options, overwrite=True))


@pytest.mark.parametrize("backend", ["vllm", "http"])
def test_only_our_own_grammar_ends_answers_at_their_repeats(
    tmp_path: Path, backend: Backend
) -> None:
    asking = replace(OPTIONS.asking, stop=RepeatStop(0.95, 2))
    url = "http://127.0.0.1:1" if backend == "http" else None
    options = replace(OPTIONS, asking=asking, backend=backend, url=url)
    with pytest.raises(InputError, match="inside our own grammar: --constrain on, --backend hf"):
        run_predict(tmp_path / "model", tmp_path / "d.jsonl", tmp_path / "p.jsonl", options)
