"""ms-swift on a machine without torchvision: pictures only.

qwen-vl-utils imports it for videos and for the name of a resampling filter, transformers wants it
for the video processor that every Qwen3-VL processor holds. None of it runs here.
"""

import sys
from enum import Enum
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import processing_utils
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin


class InterpolationMode(Enum):
    BICUBIC = "bicubic"


class PicturesOnly:
    @classmethod
    def from_pretrained(cls, path: str | Path, *_: object, **__: object) -> Any:
        return Qwen3VLVideoProcessor.from_pretrained(path)


def do_without_torchvision() -> None:
    """Put stand-ins where torchvision is missing."""
    if is_torchvision_available():  # the answer is remembered before the stand-ins are there
        return
    torchvision, io, transforms = map(
        _module, ("torchvision", "torchvision.io", "torchvision.transforms")
    )
    vars(torchvision).update(__version__="0", io=io, transforms=transforms)
    vars(transforms).update(InterpolationMode=InterpolationMode)
    vars(processing_utils.transformers_module).update(VideoProcessorMixin=VideoProcessorMixin)
    # Asked for as an attribute, transformers gives something else where torchvision is missing.
    automatic = import_module("transformers.models.auto.video_processing_auto")
    vars(automatic).update(AutoVideoProcessor=PicturesOnly)


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    sys.modules[name] = module
    return module
