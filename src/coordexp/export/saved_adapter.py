"""What an adapter checkpoint holds, layer by layer, its tensors unread.

::

    base_model.model.<layer>.lora_A.weight, .lora_B.weight           LoRA
    base_model.model.<layer>.lora_magnitude_vector                   DoRA
    base_model.model.<embedding or head>.coord_offset_adapter.rows   coord offsets
"""

from dataclasses import dataclass
from pathlib import Path

from peft import LoraConfig

from coordexp.errors import CheckpointError
from coordexp.model.adapters import load_lora_config
from coordexp.model.coord_offset import ADAPTER_NAME
from coordexp.model.load import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from coordexp.model.shards import StoredTensor, read_shard

_PREFIX = "base_model.model."
_TABLE = f".{ADAPTER_NAME}.rows"
_LEAVES = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")


@dataclass(frozen=True, slots=True)
class SavedAdapter:
    """An adapter in its file.

    Args:
        file: The weights.
        config: PEFT's.
        layers: Of each adapted layer, by its name in the model, the tensors by PEFT's last names.
        tables: The coord-offset tables by the name of the module that they are added to.
    """

    file: Path
    config: LoraConfig
    layers: dict[str, dict[str, StoredTensor]]
    tables: dict[str, StoredTensor]


def load_saved_adapter(checkpoint: Path) -> SavedAdapter:
    """Return what a checkpoint directory holds.

    Raises:
        CheckpointError: If it holds no LoRA or DoRA adapter, or a tensor that is of neither kind
            and of no coord-offset table: merging would lose it.
    """
    file = checkpoint / ADAPTER_WEIGHTS
    for needed in (checkpoint / ADAPTER_CONFIG, file):
        if not needed.is_file():
            raise CheckpointError(f"{needed}: is missing; expected a LoRA or DoRA checkpoint")
    layers: dict[str, dict[str, StoredTensor]] = {}
    tables = {}
    for tensor in read_shard(file)[0]:
        name = tensor.name.removeprefix(_PREFIX)
        leaf = next((leaf for leaf in _LEAVES if name.endswith(f".{leaf}")), None)
        if leaf is not None:
            layers.setdefault(name.removesuffix(f".{leaf}"), {})[leaf] = tensor
        elif name.endswith(_TABLE):
            tables[name.removesuffix(_TABLE)] = tensor
        else:
            raise CheckpointError(
                f"{file}: {tensor.name} is neither LoRA, DoRA nor a coord-offset table; merging "
                "would lose it"
            )
    return SavedAdapter(file=file, config=_lora_config(checkpoint), layers=layers, tables=tables)


def _lora_config(checkpoint: Path) -> LoraConfig:
    try:
        return load_lora_config(checkpoint)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint / ADAPTER_CONFIG}: cannot be read: {error}") from None
