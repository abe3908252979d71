from pathlib import Path
from typing import Any

import pytest

from coordexp.inspection.doctor.course import judged_course
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.run.build_feed import build_feed
from coordexp.training.run.course import Course, plan_course
from tests.training.conftest import MakeConfig


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"max_steps": 7}, (2, 7, 0, 0)),
        ({"max_steps": -1, "num_train_epochs": 2.5}, (2, 5, 0, 0)),
        ({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 4}, (2, 10, 3, 0)),
        ({"max_steps": 10, "save_strategy": "steps", "save_steps": 5}, (2, 10, 0, 2)),
        ({"max_steps": 5, "eval_strategy": "epoch", "save_strategy": "epoch"}, (2, 5, 3, 3)),
        ({"max_steps": 5, "effective_batch_size": 6}, (1, 5, 0, 0)),
    ],
)
def test_a_run_is_counted_as_it_will_be(
    make_config: MakeConfig,
    scenes: Path,
    tmp_path: Path,
    training: dict[str, Any],
    expected: tuple[int, int, int, int],
) -> None:
    config = make_config(tmp_path / "run", training=training, data={"eval": str(scenes)})
    encoder = build_encoder(config.model.path, build_style(config))
    feed = build_feed(config.data.parts, config, encoder, training=True)
    course = plan_course(config, feed, world_size=1)
    found = (course.steps_per_epoch, course.steps, course.evaluations, course.checkpoints)
    assert found == expected
    assert course.records == 6


def course_of(steps: int, **more: int) -> Course:
    figures = {"evaluations": 0, "checkpoints": 0, "detections": 0, **more}
    return Course(records=160, steps_per_epoch=1, steps=steps, **figures)


SAVES = {"save_strategy": "steps", "save_steps": 100}
EVALUATES = {"eval_strategy": "steps", "eval_steps": 100}


@pytest.mark.parametrize(
    ("course", "training", "expected"),
    [
        (course_of(400, evaluations=4, checkpoints=4), SAVES | EVALUATES, ""),
        (course_of(4), {}, "4 steps move the weights hardly"),
        (course_of(150, evaluations=1), EVALUATES | {"eval_steps": 200}, "measured once"),
        (course_of(100, checkpoints=1), SAVES, "no checkpoint before the last step"),
        (course_of(400), {"logging_steps": 500}, "no line in the log"),
        (course_of(400), {"warmup_steps": 400}, "never come to their height"),
        (course_of(400), {"warmup_steps": 0.1}, ""),
        (
            course_of(400, checkpoints=4),
            SAVES | {"detection_eval": {"steps": 500}},
            "boxes are never evaluated",
        ),
    ],
)
def test_a_run_that_is_too_short_is_yellow(
    make_config: MakeConfig,
    scenes: Path,
    tmp_path: Path,
    course: Course,
    training: dict[str, Any],
    expected: str,
) -> None:
    config = make_config(tmp_path / "run", training=training, data={"eval": str(scenes)})
    found = judged_course(course, config)
    assert expected in found.found
    assert (found.verdict == "yellow") == bool(expected)
    assert ("small_data.yaml" in found.advice) == bool(expected)


def test_the_words_hold_all_of_it() -> None:
    course = course_of(1600, evaluations=1, checkpoints=2, detections=3)
    expected = (
        "1,600 steps of 160 records, 1,600 passes over 160; 1 evaluation; 2 checkpoints; "
        "3 evaluations of boxes"
    )
    assert course.words() == expected
