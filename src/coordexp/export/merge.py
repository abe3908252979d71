"""Merging LoRA or DoRA and coord offsets into a plain Hugging Face checkpoint."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel

from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.export.bake import bake_coord_offsets
from coordexp.export.verify import check_merged, check_reloaded, probe_ids, probe_logits
from coordexp.files import copy_missing_files, whole_directory
from coordexp.model.card import (
    CARD_NAME,
    WeightsCard,
    load_card_section,
    load_weights_card,
    write_card,
)
from coordexp.model.load import load_checkpoint


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Args:
        base: The base that was merged into.
        tied: Whether embedding and head share one table.
        dtype: Of the written weights.
        logit_difference: Largest difference of merged and adapter logits before rounding to
            `dtype`, in standard deviations of the logits.
    """

    base: Path
    tied: bool
    dtype: str
    logit_difference: float


def merge_checkpoint(checkpoint: Path, dst: Path, *, overwrite: bool) -> MergeReport:
    """Write the merged model of an adapter checkpoint.

    Merging happens in float32 and is rounded to the base's own dtype once, at the end.

    Args:
        checkpoint: Written by `coordexp train` with an adapter. A model that was trained as a whole
            (`tuner.train_type: full`) has nothing to merge and is refused.
        dst: The new model directory; it appears when it is complete and verified.
        overwrite: Whether `dst` may exist.

    Raises:
        InputError: If `dst` exists, or writing it would replace the checkpoint or its base.
        CheckpointError: If the checkpoint or its base is not what it should be.
        CoordExpError: If the merged model does not say what the adapter said.
    """
    card = load_weights_card(checkpoint)
    if card.base is None:
        raise CheckpointError(
            f"{checkpoint}: a whole model already, merged or trained with tuner.train_type: full; "
            "there is nothing to merge"
        )
    base = Path(card.base)
    _check_places(checkpoint, base, dst)
    dtype = _stored_dtype(base)
    with whole_directory(dst, overwrite=overwrite) as partial:
        model, ids, difference = _merged(base, checkpoint, card)
        _round_weights(model, dtype)
        rounded = probe_logits(model, ids)
        _save(model, dtype, partial)
        copy_missing_files(base, partial, wanted=lambda path: not _is_weights(path))
        _write_card(checkpoint, partial, card)
        check_reloaded(partial, rounded, ids)
    return MergeReport(
        base=base,
        tied=model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        dtype=str(dtype).removeprefix("torch."),
        logit_difference=difference,
    )


def _check_places(checkpoint: Path, base: Path, dst: Path) -> None:
    if not base.is_dir():
        raise CheckpointError(
            f"{checkpoint}: its base {base} is not there; put it back, or correct weights.base in "
            f"{checkpoint / CARD_NAME}"
        )
    for source in (checkpoint.resolve(), base.resolve()):
        if source.is_relative_to(dst.resolve()):
            raise InputError(f"{dst}: writing here would remove {source}; choose another place")


def _merged(
    base: Path, checkpoint: Path, card: WeightsCard
) -> tuple[PreTrainedModel, torch.Tensor, float]:
    adapted = load_checkpoint(base, checkpoint, dtype="float32")
    inner = cast(PreTrainedModel, adapted.get_base_model())
    rows = len(cast(Tensor, inner.get_input_embeddings().weight))
    ids = probe_ids(rows, card.coord_ids)
    expected = probe_logits(adapted, ids)
    model = cast(Callable[[], PreTrainedModel], adapted.merge_and_unload)()
    if card.tie_head is not None:
        bake_coord_offsets(model)
    return model, ids, check_merged(model, expected, ids)


@torch.no_grad()
def _round_weights(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round the weights to what will be written, but keep computing in float32."""
    for parameter in model.parameters():
        parameter.copy_(parameter.to(dtype))


def _save(model: PreTrainedModel, dtype: torch.dtype, dst: Path) -> None:
    nn.Module.to(model, dtype)
    model.config.text_config.use_cache = True
    try:
        model.save_pretrained(dst)
    except SafetensorError as error:  # a full disk is not an OSError there
        raise CoordExpError(f"{dst}: the weights cannot be written: {error}") from None


def _write_card(checkpoint: Path, dst: Path, card: WeightsCard) -> None:
    style = load_card_section(checkpoint, "style")
    if not isinstance(style, dict):
        raise CheckpointError(f"{checkpoint / CARD_NAME}: style: expected an object")
    write_card(dst, style=style, weights=replace(card, base=None, coord_rows=None, tie_head=None))


def _is_weights(path: Path) -> bool:
    return path.suffix in {".safetensors", ".bin"} or path.name.endswith(".index.json")


def _stored_dtype(base: Path) -> torch.dtype:
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{base / 'config.json'}: cannot be read: {error}") from None
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"{base / 'config.json'}: unknown dtype {name!r}")
    return dtype
