"""The experts of a model that was trained as a whole, laid out as in the files of its base.

Published files have each expert's matrices input columns first. transformers takes them either way
and saves them as its model has them; other programs know what is published alone.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from coordexp.export.base_layout import BaseLayout, load_base_layout
from coordexp.model.shard_writing import AnyTensor, NewTensor, write_weights
from coordexp.model.shards import StoredTensor, load_weights


def lay_out_as_base(directory: Path, base: Path) -> None:
    """Exchange rows and columns of a model's experts where the base's files have them so.

    Args:
        directory: Of the model; its files are replaced one by one.
        base: That it was trained from.

    Raises:
        CheckpointError: If one of them cannot be read.
    """
    layout = load_base_layout(base)
    weights = load_weights(directory)
    if not any(_is_turned(tensor, layout) for tensor in weights.by_name.values()):
        return
    shards: list[list[AnyTensor]] = [
        [_turned(tensor) if _is_turned(tensor, layout) else tensor for tensor in shard]
        for shard in weights.shards
    ]
    with TemporaryDirectory(dir=directory) as fresh:
        write_weights(Path(fresh), shards, metadata=weights.metadata)
        for file in Path(fresh).iterdir():
            file.replace(directory / file.name)


def _is_turned(tensor: StoredTensor, layout: BaseLayout) -> bool:
    """Return whether a stored stack has the shape of the model, and the base's has another."""
    if tensor.name not in layout.stacks:
        return False
    return layout.stacks[tensor.name] == tensor.shape != layout.by_parameter[tensor.name].shape


def _turned(tensor: StoredTensor) -> NewTensor:
    experts, rows, columns = tensor.shape
    shape = (experts, columns, rows)
    return NewTensor(tensor.name, tensor.dtype, shape, partial(_exchange, tensor))


def _exchange(tensor: StoredTensor) -> Tensor:
    return tensor.load().transpose(1, 2).contiguous()
