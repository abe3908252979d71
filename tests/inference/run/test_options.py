"""A run that was stopped is gone on with by the same run, and another is told what differs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.answers.prediction_lines import RowOptions, ScoreMap
from coordexp.errors import InputError
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.parts import Parts
from tests.inference.plainly import plainly

OPTIONS = plainly(batch_size=4, max_new_tokens=9)
FREE = replace(OPTIONS.asking, constrain=False)


def begin(out: Path, options: PredictOptions) -> None:
    run = {"data": "d", "model": "m", **options.identity()}
    with Parts(out, run).writer(0):
        pass


def test_the_identity_is_what_stopped_runs_have_on_disk() -> None:
    assert json.dumps(OPTIONS.identity()) == (
        '{"constrain": true, "restrict_to": null, "max_new_tokens": 9, "ordered": true, '
        '"coord_decode": "token", "dedup_iou": null, "calibration": null, "classes": null}'
    )
    vllm = replace(OPTIONS, backend="vllm", asking=FREE)
    assert json.dumps(vllm.identity()) == (
        '{"backend": "vllm", "constrain": false, "restrict_to": null, "max_new_tokens": 9, '
        '"coord_decode": "token", "dedup_iou": null, "calibration": null, "classes": null}'
    )


def test_what_an_engine_computes_is_in_the_identity_and_its_room_is_not() -> None:
    vllm = replace(OPTIONS, backend="vllm")
    roomy = replace(vllm, engine={"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5})
    halved = replace(vllm, engine={"dtype": "bfloat16", "max_num_seqs": 3})
    assert roomy.identity() == vllm.identity()
    assert halved.identity() == {**vllm.identity(), "engine": {"dtype": "bfloat16"}}


@pytest.mark.parametrize(
    "same",
    [
        replace(OPTIONS, batch_size=1),
        replace(OPTIONS, coco=Path("c.json"), overwrite=True),
    ],
)
def test_the_size_of_a_batch_and_other_outputs_change_no_line(
    tmp_path: Path, same: PredictOptions
) -> None:
    begin(tmp_path / "p.jsonl", OPTIONS)
    begin(tmp_path / "p.jsonl", same)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(OPTIONS, asking=FREE), "(constrain was True and is False)"),
        (
            replace(OPTIONS, rows=RowOptions(classes=("cat",), dedup_iou=0.5)),
            "(dedup_iou was None and is 0.5; classes was None and is ('cat',))",
        ),
        (
            replace(OPTIONS, rows=RowOptions(score_map=ScoreMap("d1", float))),
            "(calibration was None and is d1)",
        ),
        (
            replace(OPTIONS, asking=replace(OPTIONS.asking, stop=RepeatStop(0.95, 2))),
            "(stop was not given and is {'in_a_row': 2, 'iou': 0.95})",
        ),
        (
            replace(OPTIONS, rows=RowOptions(min_score=0.25)),
            "(min_score was not given and is 0.25)",
        ),
        (replace(OPTIONS, backend="vllm"), "backend was not given and is vllm"),
    ],
)
def test_another_run_is_told_what_differs(tmp_path: Path, other: PredictOptions, told: str) -> None:
    begin(tmp_path / "p.jsonl", OPTIONS)
    with pytest.raises(InputError) as found:
        begin(tmp_path / "p.jsonl", other)
    assert told in str(found.value)
    assert "delete p.jsonl.part*" in str(found.value)


def test_lists_of_classes_are_the_same_when_they_are_read_back(tmp_path: Path) -> None:
    options = replace(OPTIONS, rows=RowOptions(classes=("cat", "dog")))
    begin(tmp_path / "p.jsonl", options)
    begin(tmp_path / "p.jsonl", options)
