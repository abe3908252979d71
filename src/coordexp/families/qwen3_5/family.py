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

from coordexp.families.boxes import BoxText
from coordexp.families.family import Family, VocabularyNames
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.towers import TowerNames

_CELL_PX = 32

_ALIGNER = TowerNames(
    "aligner",
    parameters=re.compile(r"(^|\.)visual\.merger\."),
    place=r"(?:.*\.)?visual\.merger\.",
    leaves=("linear_fc1", "linear_fc2"),
)
_VISION = TowerNames(
    "vision",
    parameters=re.compile(r"(^|\.)visual\."),
    place=r"(?:.*\.)?visual\.blocks\.\d+\..*\.",
    leaves=("qkv", "proj", "linear_fc1", "linear_fc2"),
)
_LANGUAGE = TowerNames(
    "language",
    parameters=re.compile(r"(^|\.)(language_model|lm_head)\."),
    place=r"(?:.*\.)?language_model\.layers\.\d+\..*\.",
    leaves=(
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "in_proj_qkv",
        "in_proj_z",
        "in_proj_b",
        "in_proj_a",
        "out_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ),
)

QWEN3_5 = Family(
    name="qwen3_5",
    grid=PictureGrid(
        cell_px=_CELL_PX, least=4 * _CELL_PX**2, most=16_384 * _CELL_PX**2, largest_ratio=200
    ),
    image_token="<|image_pad|>",
    end_marks=("<|im_end|>", "<|endoftext|>"),
    text_block="text_config",
    vocabulary=VocabularyNames(embedding="embed_tokens", head="lm_head"),
    towers=(_ALIGNER, _VISION, _LANGUAGE),
    boxes=BoxText(
        box_key="bbox_2d",
        point_key="point_2d",
        label_key="label",
        steps=1000,
        question="Locate every instance that belongs to these categories: {classes}. Report bbox "
        "coordinates in JSON format.",
        open_question="Locate every object in the image. Report bbox coordinates and labels in "
        "JSON format.",
    ),
    swift_packages=("qwen-vl-utils",),
    recurrent=("linear_attn",),
    unloaded=("mtp.",),
)
