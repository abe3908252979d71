"""The index's torchvision beside a PyTorch without CUDA: its Python part only.

Its compiled operators want CUDA's libraries. vLLM needs none of them, but torchvision describes two
of them when it is imported, and stops where they are missing. So they are declared before. Every
process that Python starts reads this file, if this folder is in PYTHONPATH.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

_declared: list[object] = []


class BeforeTorchvision(MetaPathFinder):
    """Declares the operators when torchvision is imported for the first time."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_operators()
        return None


def _declare_operators() -> None:
    import torch  # noqa: PLC0415 - not in processes that need none

    # A build for this PyTorch, such as 0.28.0+cpu, brings its own.
    if torch.version.cuda is None and "+" not in version("torchvision"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)


try:
    version("torchvision")
except PackageNotFoundError:
    pass
else:
    sys.meta_path.insert(0, BeforeTorchvision())
