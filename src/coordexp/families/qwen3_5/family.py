"""Names, sizes and conventions of Qwen3.5.

::

    model.visual.merger.*               aligner: from vision to language
    model.visual.*                      vision, the rest of it
    model.language_model.*, lm_head.*   language
    mtp.*                               drafts for speculative decoding; no part of the model here

Three of four layers of the language model read their tokens into a state (`linear_attn`, a gated
delta rule behind a short convolution); the fourth looks back at all of them (`self_attn`). Pictures
are cut as Qwen3-VL's are, and boxes written as it writes them. transformers does not load the draft
weights: they go from the base into its expanded and merged copies as they are, and a model that is
trained as a whole is saved without them.
"""

import re
from dataclasses import replace

from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.towers import TowerNames

_ALIGNER = TowerNames(
    "aligner",
    parameters=re.compile(r"(^|\.)visual\.merger\."),
    place=r"(?:.*\.)?visual\.merger\.",
    leaves=("linear_fc1", "linear_fc2"),
)
_, _VISION, _LANGUAGE = QWEN3_VL.towers
_LOOKS_BACK = ("q_proj", "k_proj", "v_proj", "o_proj")
_STATES = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")

QWEN3_5 = replace(
    QWEN3_VL,
    name="qwen3_5",
    towers=(_ALIGNER, _VISION, replace(_LANGUAGE, leaves=(*_LOOKS_BACK, *_STATES, *_MLP))),
    recurrent=("linear_attn",),
    unloaded=("mtp.",),
)
