"""Whether the run is long enough to be one, and whether anybody will see its course."""

from coordexp.config.schema import Config
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.verdict import CheckResult, Pieces
from coordexp.training.run.course import Course, plan_course

# AdamW moves a weight by about its rate in a step, whatever the gradient: at 1e-4 and the mean of
# a cosine, 100 steps move it by 0.005 at most, where the entries of coord rows are about 0.02.
LEAST_STEPS = 100
# One figure is no course: two are the fewest that say whether the loss still falls.
LEAST_EVALUATIONS = 2

_ADVICE = (
    "fewer records a step (training.effective_batch_size, packing: false), more num_train_epochs, "
    "smaller eval_steps and save_steps; configs/small_data.yaml does all of it"
)


def course(pieces: Pieces) -> CheckResult:
    """Count steps, evaluations and checkpoints as the run will come to them."""
    config, feeds = pieces.take(Config), pieces.take(Feeds)
    return judged_course(plan_course(config, feeds.train, world_size=1), config)


def judged_course(planned: Course, config: Config) -> CheckResult:
    """Judge what a run comes to."""
    training, steps = config.training, planned.steps
    warmup, boxes = training.warmup_steps, training.detection_eval.steps
    doubts = {
        f"{steps} steps move the weights hardly, {LEAST_STEPS} are few": steps < LEAST_STEPS,
        "the loss of data.eval is measured once, at the end (training.eval_steps "
        f"{training.eval_steps or training.logging_steps})": (
            0 < planned.evaluations < LEAST_EVALUATIONS
        ),
        f"no checkpoint before the last step (training.save_steps {training.save_steps})": (
            training.save_strategy == "steps" and training.save_steps >= steps
        ),
        f"no line in the log (training.logging_steps {training.logging_steps})": (
            training.logging_steps > steps
        ),
        f"the rates never come to their height (training.warmup_steps {warmup:g})": (
            warmup >= 1 and warmup >= steps
        ),
        f"boxes are never evaluated (training.detection_eval.steps {boxes})": (
            boxes is not None and not planned.detections
        ),
    }
    wrong = [words for words, holds in doubts.items() if holds]
    if wrong:
        return CheckResult("yellow", "; ".join([planned.words(), *wrong]), _ADVICE)
    return CheckResult("green", planned.words())
