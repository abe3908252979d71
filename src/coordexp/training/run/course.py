"""How long a run is, and what happens on its way: counted before it starts.

transformers evaluates and saves after every so many steps and once more after the last one, or
after every epoch.
"""

import math
from dataclasses import dataclass

from coordexp.config.schema import Config
from coordexp.data.plan.schedule import Schedule
from coordexp.training.step.feed import Feed

_LONG = 100  # from here on digits behind the point say nothing


@dataclass(frozen=True, slots=True)
class Course:
    """A run in numbers.

    Args:
        records: In the first epoch.
        steps_per_epoch: Optimizer steps of the first epoch.
        steps: Of the whole run.
        evaluations: Of the loss on the held-out records.
        checkpoints: That are written on the way or after the last step, deleted ones included.
        detections: Evaluations of boxes.
    """

    records: int
    steps_per_epoch: int
    steps: int
    evaluations: int
    checkpoints: int
    detections: int

    @property
    def records_per_step(self) -> float:
        """How many records a step sees, on average."""
        return self.records / self.steps_per_epoch

    @property
    def epochs(self) -> float:
        """Passes over the data."""
        return self.steps / self.steps_per_epoch

    def words(self) -> str:
        """Return the numbers in a sentence."""
        parts = [
            f"{_counted(self.steps, 'step')} of {_short(self.records_per_step)} records, "
            f"{_short(self.epochs)} passes over {self.records:,}",
            _counted(self.evaluations, "evaluation"),
            _counted(self.checkpoints, "checkpoint"),
        ]
        if self.detections:
            parts.append(_counted(self.detections, "evaluation") + " of boxes")
        return "; ".join(parts)


def plan_course(config: Config, feed: Feed, *, world_size: int) -> Course:
    """Return what a run comes to.

    Args:
        config: Of the run.
        feed: What it is trained on.
        world_size: Number of processes.
    """
    training = config.training
    schedule = Schedule(
        plan=feed.plan,
        world_size=world_size,
        accumulation=training.accumulation_steps(world_size=world_size),
    )
    here = schedule.steps(0)
    steps = training.max_steps
    if steps <= 0:
        steps = schedule.total_steps(training.num_train_epochs)
    epochs = math.ceil(steps / here)
    detection = training.detection_eval.steps
    evaluations = {
        "no": 0,
        "steps": math.ceil(steps / (training.eval_steps or training.logging_steps)),
        "epoch": epochs,
    }
    checkpoints = {"no": 0, "steps": math.ceil(steps / training.save_steps), "epoch": epochs}
    return Course(
        records=sum(map(len, feed.plan.batches(0))),
        steps_per_epoch=here,
        steps=steps,
        evaluations=evaluations[training.eval_strategy],
        checkpoints=checkpoints[training.save_strategy],
        detections=0 if detection is None else steps // detection,
    )


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= _LONG else f"{number:.3g}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
