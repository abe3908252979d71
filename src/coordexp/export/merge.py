"""Merging LoRA or DoRA and coord offsets into a plain Hugging Face checkpoint."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from coordexp.errors import CheckpointError, InputError
from coordexp.export.bake import BakePlan, plan_bake
from coordexp.export.base_layout import CONFIG, load_base_layout, untied_config
from coordexp.export.certificate import CERTIFICATE, Certificate, Origin, write_certificate
from coordexp.export.certify import Merge, certify_merge
from coordexp.export.model_card import CARD, write_model_card
from coordexp.export.probe import build_probe
from coordexp.export.saved_adapter import SavedAdapter, load_saved_adapter
from coordexp.families.config_file import load_object
from coordexp.files import copy_missing_files, whole_directory, write_text
from coordexp.identity import file_digest
from coordexp.model.card import (
    CARD_NAME,
    WeightsCard,
    load_card_section,
    load_origin,
    load_trained_classes,
    load_weights_card,
    write_card,
)
from coordexp.model.load import ADAPTER_CONFIG, check_same_base
from coordexp.model.shard_writing import write_weights
from coordexp.rendering.style import RenderingStyle, style_from_json, style_to_json

_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx"}
_NOT_THE_BASES = {CARD, CARD_NAME, CERTIFICATE}


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Args:
        base: The base that was merged into.
        tied: Whether embedding and head share one table.
        dtype: Of the vocabulary.
        certificate: None where none was asked for.
    """

    base: Path
    tied: bool
    dtype: str
    certificate: Certificate | None


def merge_checkpoint(
    checkpoint: Path | str,
    dst: Path | str,
    *,
    overwrite: bool = False,
    certify: bool = True,
    records: Path | str | None = None,
) -> MergeReport:
    """Write the merged model of an adapter checkpoint.

    Merging happens in float32, tensor by tensor, and is rounded once to the dtype that the base
    stores.

    Args:
        checkpoint: Written by `coordexp train` with an adapter. A model that was trained as a whole
            (`tuner.train_type: full`) has nothing to merge and is refused.
        dst: The new model directory; it appears when it is complete and certified.
        overwrite: Whether `dst` may exist.
        certify: Whether to check what was written; see `coordexp.export.certify`.
        records: JSONL to certify on, instead of the run's own.

    Raises:
        InputError: If `dst` exists, writing it would replace the checkpoint or its base, or
            `records` cannot be read.
        CheckpointError: If the checkpoint or its base is not what it should be.
        CoordExpError: If the merged model does not say what the adapter said.
    """
    checkpoint, dst = Path(checkpoint), Path(dst)
    records = None if records is None else Path(records)
    card = _adapter_card(checkpoint)
    base = _base_of(checkpoint, card)
    _check_place(dst, checkpoint, base)
    adapter, layout = load_saved_adapter(checkpoint), load_base_layout(base)
    check_same_base(card, base, checkpoint)
    plan = plan_bake(layout, adapter, card)
    style = style_from_json(load_card_section(checkpoint, "style"))
    with whole_directory(dst, overwrite=overwrite) as partial:
        probe = None
        if certify:  # before the work: a file of records may be wrong
            probe = build_probe(checkpoint, base, style=style, card=card, records=records)
        write_weights(partial, plan.shards, metadata=layout.weights.metadata)
        _write_rest(partial, base, plan, style, card, checkpoint)
        certificate = None
        if probe is not None:
            merge = Merge(base, checkpoint, partial, layout, card.coord_ids)
            certificate = certify_merge(merge, probe, _origin(checkpoint, base, adapter, card))
        write_model_card(partial, base, style=style, certificate=certificate)
        if certificate is not None:
            write_certificate(partial, certificate)
    return MergeReport(
        base=base,
        tied=plan.tied,
        dtype=str(layout.embedding_table.dtype).removeprefix("torch."),
        certificate=certificate,
    )


def _adapter_card(checkpoint: Path) -> WeightsCard:
    is_adapter = (checkpoint / ADAPTER_CONFIG).is_file()
    if is_adapter or not (checkpoint / CONFIG).is_file():
        card = load_weights_card(checkpoint)
        if card.base is not None:
            return card
    raise CheckpointError(
        f"{checkpoint}: a whole model already: a base, merged, or trained with tuner.train_type: "
        "full; there is nothing to merge"
    )


def _base_of(checkpoint: Path, card: WeightsCard) -> Path:
    base = Path(card.base or "")
    if not base.is_dir():
        raise CheckpointError(
            f"{checkpoint}: its base {base} is not there; put it back, or correct weights.base in "
            f"{checkpoint / CARD_NAME}"
        )
    return base


def _check_place(dst: Path, *sources: Path) -> None:
    for source in sources:
        if source.resolve().is_relative_to(dst.resolve()):
            raise InputError(f"{dst}: writing here would remove {source}; choose another place")


def _write_rest(
    dst: Path,
    base: Path,
    plan: BakePlan,
    style: RenderingStyle,
    card: WeightsCard,
    checkpoint: Path,
) -> None:
    """Write the configuration, and copy the base's tokenizer, processor and other small files."""
    untied = untied_config(base)
    if not plan.tied and untied != load_object(base / CONFIG):
        text = json.dumps(untied, indent=2, ensure_ascii=False)
        write_text(dst / CONFIG, text + "\n")
    copy_missing_files(base, dst, wanted=_is_kept)
    plain = replace(card, base=None, coord_rows=None, tie_head=None, quantization=None)
    write_card(
        dst,
        style=style_to_json(style),
        weights=plain,
        classes=load_trained_classes(checkpoint),
        origin=load_origin(checkpoint),
    )


def _is_kept(path: Path) -> bool:
    is_weights = path.suffix in _WEIGHT_SUFFIXES or path.name.endswith(".index.json")
    return not is_weights and path.name not in _NOT_THE_BASES


def _method(adapter: SavedAdapter) -> str:
    if not adapter.layers:
        return "coord offsets alone"
    return "DoRA" if adapter.config.use_dora else "LoRA"


def _origin(checkpoint: Path, base: Path, adapter: SavedAdapter, card: WeightsCard) -> Origin:
    return Origin(
        base=base.resolve().name,
        adapter=checkpoint.resolve().name,
        adapter_sha256=file_digest(adapter.file),
        method=_method(adapter),
        rank=adapter.config.r,
        tie_head=card.tie_head,
        tokenizer=card.tokenizer,
    )
