"""The parts of a Qwen-VL model, by parameter name.

::

    model.visual.{merger, deepstack_merger_list}.*  aligner: from vision to language
    model.visual.*                                  vision, the rest of it
    model.language_model.*, lm_head.*               language
"""

import re
from typing import Literal

Tower = Literal["vision", "aligner", "language"]

# First match wins. The names hold with and without PEFT's prefixes.
TOWERS: tuple[tuple[Tower, re.Pattern[str]], ...] = (
    ("aligner", re.compile(r"(^|\.)visual\.(merger|deepstack_merger_list)\.")),
    ("vision", re.compile(r"(^|\.)visual\.")),
    ("language", re.compile(r"(^|\.)(language_model|lm_head)\.")),
)

# The linear layers of each tower: where they are, and their last names.
LINEAR_LAYERS: dict[Tower, tuple[str, tuple[str, ...]]] = {
    "vision": (
        r"(?:.*\.)?visual\.blocks\.\d+\..*\.",
        ("qkv", "proj", "linear_fc1", "linear_fc2"),
    ),
    "aligner": (
        r"(?:.*\.)?visual\.(?:merger|deepstack_merger_list\.\d+)\.",
        ("linear_fc1", "linear_fc2"),
    ),
    "language": (
        r"(?:.*\.)?language_model\.layers\.\d+\..*\.",
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
}


def tower_of(name: str) -> Tower | None:
    """Return the tower that a parameter belongs to, None outside all of them.

    Example:
        >>> tower_of("model.visual.merger.norm.weight")
        'aligner'
    """
    return next((tower for tower, pattern in TOWERS if pattern.search(name)), None)
