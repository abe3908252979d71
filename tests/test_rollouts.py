import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.plan.ordering import ordered_objects
from coordexp.errors import InputError
from coordexp.evaluation.measure.predictions import parse_prediction
from coordexp.rollouts import build_rollouts, write_rollouts

CAT, DOG, YAK = [10, 10, 40, 40], [50, 10, 90, 40], [10, 60, 90, 95]
TRUTH = [
    {"desc": "yak", "bbox_2d": YAK},
    {"desc": "cat", "bbox_2d": CAT},
    {"desc": "dog", "bbox_2d": DOG},
]


def said(desc: str, box: list[int]) -> dict[str, object]:
    return {"desc": desc, "bbox_2d": box, "score": 0.5}


def line(
    pred: list[dict[str, object]], gt: list[dict[str, object]], **more: object
) -> dict[str, object]:
    frame = {"image": "images/1.png", "width": 100, "height": 100}
    return {**frame, "gt": gt, "pred": pred, **more}


def write(path: Path, *lines: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    return path


def taught(row: dict[str, object]) -> list[str]:
    (rollout,) = build_rollouts([parse_prediction(row)])
    return [item.desc for item in rollout.record.objects]


def test_found_objects_come_as_they_were_said_and_missed_ones_behind() -> None:
    answer = [said("dog", [51, 11, 90, 40]), said("yak", [10, 60, 90, 90])]
    assert taught(line(answer, TRUTH)) == ["dog", "yak", "cat"]
    assert taught(line([], TRUTH)) == ["cat", "dog", "yak"]


def test_the_geometry_and_the_words_are_the_truths() -> None:
    (rollout,) = build_rollouts([parse_prediction(line([said("DOG ", [52, 12, 88, 41])], TRUTH))])
    first = rollout.record.objects[0]
    assert (first.desc, first.geometry.values) == ("dog", tuple(DOG))


def test_what_is_wrong_is_left_out() -> None:
    wrong = [said("dog", [0, 0, 9, 9]), said("emu", CAT), said("cat", CAT), said("cat", CAT)]
    assert taught(line(wrong, TRUTH)) == ["cat", "dog", "yak"]


@given(st.permutations(TRUTH))
def test_a_perfect_answer_is_kept_in_its_order(order: list[dict[str, object]]) -> None:
    answer = [{**item, "score": 1.0} for item in order]
    assert taught(line(answer, TRUTH)) == [item["desc"] for item in order]


def test_a_crowd_stays_and_is_not_taught() -> None:
    crowd = {"desc": "cat", "bbox_2d": DOG, "iscrowd": 1}
    (rollout,) = build_rollouts(
        [parse_prediction(line([said("cat", DOG), said("cat", CAT)], [crowd, TRUTH[1]]))]
    )
    assert [item.marks.is_crowd for item in rollout.record.objects] == [False, True]
    assert (rollout.found, rollout.moved) == (1, False)


def test_records_are_written_that_training_reads_in_their_order(tmp_path: Path) -> None:
    pred = write(
        tmp_path / "runs" / "p.jsonl",
        line([said("dog", DOG), said("cat", CAT)], TRUTH, root="../data", prompt="What?"),
        line([], [], root="../data", resized=[50, 50]),
    )
    counts = write_rollouts(pred, tmp_path / "data" / "r.jsonl", overwrite=False)
    assert (counts.records, counts.found, counts.missed, counts.wrong, counts.moved) == (
        2,
        2,
        1,
        0,
        1,
    )
    first, second = RecordFile(tmp_path / "data" / "r.jsonl", SPEC_ALPHABET)
    assert (first.image, first.prompt, second.resized) == ("images/1.png", "What?", (50, 50))
    order = ordered_objects(first, "record", seed=0, epoch=0, index=0, alphabet=SPEC_ALPHABET)
    assert [item.desc for item in order] == ["dog", "cat", "yak"]


def test_pictures_are_named_from_the_folder_of_the_records(tmp_path: Path) -> None:
    pred = write(tmp_path / "runs" / "p.jsonl", line([], TRUTH, root="../data/coco"))
    write_rollouts(pred, tmp_path / "data" / "r.jsonl", overwrite=False)
    (record,) = RecordFile(tmp_path / "data" / "r.jsonl", SPEC_ALPHABET)
    assert record.image == "coco/images/1.png"
    with pytest.raises(InputError, match=r"folder of the pictures, .*coco, or above it"):
        write_rollouts(pred, tmp_path / "runs" / "r.jsonl", overwrite=False)
    assert not (tmp_path / "runs" / "r.jsonl").exists()


def test_the_command_says_what_it_has_done(tmp_path: Path) -> None:
    flat = {"desc": "rod", "bbox_2d": [5, 5, 5, 50]}
    answer = [said("dog", DOG), said("emu", DOG)]
    pred = write(tmp_path / "p.jsonl", line(answer, [*TRUTH, flat]))
    command = ["data", "rollouts", str(pred), str(tmp_path / "r.jsonl")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "1 records, 1 of them not in the sorted order; 1 objects found, 2 missed" in done.output
    assert "1 predicted ones left out" in done.output
    assert "left out: 1 true boxes without area in pixels" in done.output
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0


def test_pictures_without_a_truth_are_refused(tmp_path: Path) -> None:
    row = line([], [])
    del row["gt"]
    done = CliRunner().invoke(
        app, ["data", "rollouts", str(write(tmp_path / "p.jsonl", row)), str(tmp_path / "r.jsonl")]
    )
    assert done.exit_code == 2
    assert "gt: missing" in done.output
