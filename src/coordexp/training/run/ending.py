"""What to tell at the end of a run: how good it is, where its best weights are, what is next."""

import json
import shlex
from pathlib import Path

from coordexp.config.schema import Config
from coordexp.training.watch.detection import BEST, SUMMARY_NAME

_PREDICTIONS = "predictions.jsonl"


def closing_words(config: Config) -> list[str]:
    """Return lines for the user of a run that is finished.

    Example::

        AP 0.512 at step 300, the best of the boxes asked for: runs/first/best
        next: coordexp merge runs/first/best runs/first-merged
    """
    run = config.training.output_dir
    best = run / BEST / SUMMARY_NAME
    lines, weights = [], run
    if best.is_file():
        kept = json.loads(best.read_text(encoding="utf-8"))
        weights = best.parent
        lines.append(f"AP {kept['figures']['AP']:.3f} at step {kept['step']}, the best: {weights}")
    return [*lines, f"next: {_next_command(config, weights)}"]


def _next_command(config: Config, weights: Path) -> str:
    run = config.training.output_dir
    if config.tuner.train_type == "lora":
        return shlex.join(
            ["coordexp", "merge", str(weights), str(run.with_name(f"{run.name}-merged"))]
        )
    data = config.data.eval or config.data.parts[0].path
    out = run / _PREDICTIONS
    words = ["coordexp", "predict", "--model", weights, "--data", data, "--out", out]
    return shlex.join(map(str, words))
