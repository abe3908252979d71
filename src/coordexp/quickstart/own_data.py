"""The same on a reader's own data, as commands."""

import shlex
from pathlib import Path

BASE = "models/base"
"""Where a reader has the checkpoint of a published base."""


def own_commands(train_config: Path) -> list[tuple[str, str]]:
    """Return what each step does, and its command.

    Args:
        train_config: The configuration that the quickstart trained coord tokens with.
    """
    copied = f"cp {shlex.quote(str(train_config))} mine.yaml"
    return [
        (
            "Make records of your annotations, and the same for `val`: COCO here; five other "
            "formats are known",
            "coordexp data convert coco data/train.jsonl --split train --copy-images",
        ),
        ("See whether they keep the contract", "coordexp data check data/train.jsonl"),
        (
            "Give a base coord tokens. `vocab graft` in place of it teaches them what the base "
            "already says in integers, as it did for those of the quickstart",
            f"coordexp vocab expand {BASE} {BASE}-coord",
        ),
        (
            f"Take the quickstart's configuration; put in {BASE}-coord, data/train.jsonl, "
            "runs/mine as its `output_dir`, and your rates; `use_cpu` is for machines without a "
            "GPU. Files in configs/ of the repository are for models of 2 to 8 billion parameters",
            copied,
        ),
        ("Look for mistakes before they cost a night", "coordexp doctor --config mine.yaml"),
        (
            "Train. Killed? Give the command again, and it goes on",
            "coordexp train --config mine.yaml",
        ),
        (
            "Make a plain model of it, certified to answer as the adapter does",
            "coordexp merge runs/mine models/mine",
        ),
        (
            "Ask it about pictures that it has not seen",
            "coordexp predict --model models/mine --data data/val.jsonl "
            "--out runs/mine/predictions.jsonl --coord-decode expectation",
        ),
        (
            "Score its answers, beside those of another model where you have some",
            "coordexp evaluate runs/mine/predictions.jsonl --out runs/mine "
            "--compare runs/other/predictions.jsonl",
        ),
        (
            "Or compare recipes as this page does, over several seeds: a study names your records "
            "as its task",
            "coordexp lab run study.yaml",
        ),
    ]
