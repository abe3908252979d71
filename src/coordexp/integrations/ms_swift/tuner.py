"""LoRA and DoRA in ms-swift's hands, with the coord offsets beside them."""

from pathlib import Path
from typing import Any, NoReturn

from peft import PeftModel
from transformers import PreTrainedModel, set_seed

from coordexp.errors import CheckpointError, InputError
from coordexp.model.adapters import guard_adapter, restore_lora
from coordexp.model.card import load_weights_card
from coordexp.model.coord_offset import (
    find_offset_head,
    install_coord_offset_adapter,
    reattach_coord_offset_hooks,
)
from coordexp.model.fingerprint import check_same_rows
from coordexp.model.load import coord_rows


def prepare_adapter(args: Any, model: PreTrainedModel) -> PeftModel:  # noqa: ANN401 - ms-swift's
    """Return the model as ms-swift wraps it, its offset tables saved with the adapter.

    The random numbers begin anew here, so that the adapter starts as that of our own runner.
    """
    from swift.pipelines.train import tuner  # noqa: PLC0415 - ms-swift may be absent

    set_seed(args.seed)
    adapted: PeftModel = tuner.prepare_adapter(args, model)
    if find_offset_head(model) is not None:
        guard_adapter(adapted)
        reattach_coord_offset_hooks(adapted)
    return adapted


def restore_adapter(model: PreTrainedModel, path: Path, *, trainable: bool) -> PeftModel:
    """Return a loaded base with a checkpoint of ours on it, offsets included.

    Raises:
        CheckpointError: If it is none of ours, or belongs to other coord rows.
    """
    card = load_weights_card(path)
    installed = find_offset_head(model)
    if installed is None and card.tie_head is not None and card.coord_ids is not None:
        first, last = card.coord_ids
        check_same_rows(
            card, coord_rows(model, first, last), "the model that ms-swift loaded", path
        )
        install_coord_offset_adapter(
            model, coord_ids=range(first, last + 1), tie_head=card.tie_head
        )
    elif card.tie_head != (None if installed is None else installed.is_tied):
        raise CheckpointError(
            f"{path}: another kind of coord offsets than custom.coord_offset asks for"
        )
    restored = restore_lora(model, path, trainable=trainable)
    if find_offset_head(model) is not None:
        reattach_coord_offset_hooks(restored)
        restored.merge_and_unload = _refuse_merge  # type: ignore[assignment] # on purpose
    return restored


def save_adapter(model: PeftModel, directory: Path, **options: Any) -> None:  # noqa: ANN401 - PEFT's
    """Write the adapter, LoRA and offset tables in one file."""
    model.save_pretrained(str(directory), selected_adapters=["default"], **options)


def _refuse_merge(*_: object, **__: object) -> NoReturn:
    raise InputError(
        "ms-swift's merge would drop the coord offsets; merge with: coordexp merge CHECKPOINT DST"
    )
