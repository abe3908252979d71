"""Names, sizes and conventions of Qwen3-VL.

::

    model.visual.{merger, deepstack_merger_list}.*  aligner: from vision to language
    model.visual.*                                  vision, the rest of it
    model.language_model.*, lm_head.*               language

The cell is a patch of 16 pixels, merged two by two; the limits are those of qwen-vl-utils.
"""

import re

from coordexp.families.boxes import BoxText
from coordexp.families.family import Family, VocabularyNames
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.towers import TowerNames

_CELL_PX = 32

_ALIGNER = TowerNames(
    "aligner",
    parameters=re.compile(r"(^|\.)visual\.(merger|deepstack_merger_list)\."),
    place=r"(?:.*\.)?visual\.(?:merger|deepstack_merger_list\.\d+)\.",
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
    leaves=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)

QWEN3_VL = Family(
    name="qwen3_vl",
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
    recurrent=(),
    unloaded=(),
)
