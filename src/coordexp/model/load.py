"""Opening checkpoints, without torchvision and without a network."""

from pathlib import Path
from typing import Literal, cast

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.families.inputs import INPUTS, ModelInputs
from coordexp.families.known import load_family
from coordexp.families.recurrent_layers import install_recurrent_layers
from coordexp.model.adapters import restore_lora
from coordexp.model.card import WeightsCard, load_weights_card
from coordexp.model.checkpoint_folder import check_folder, check_not_quantised
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    install_coord_offset_adapter,
    reattach_coord_offset_hooks,
)
from coordexp.model.experts import check_stacked
from coordexp.model.fingerprint import (
    check_same_rows,
    first_difference,
    joined_rows,
    stored_rows,
    tokenizer_fingerprint,
)
from coordexp.model.four_bit import FourBits, four_bit_options, settle_four_bits
from coordexp.model.shards import load_weights

DTypeName = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """Return a checkpoint's tokenizer.

    Raises:
        CheckpointError: If the directory or its tokenizer cannot be read.
    """
    path = Path(path)
    check_folder(path, "tokenizer_config.json")
    try:
        return cast(
            PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(path, local_files_only=True)
        )
    except Exception as error:  # noqa: BLE001 - of a broken file the library says no more than that
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: the tokenizer cannot be loaded: {reason}") from None


def load_inputs(path: Path | str, *, min_pixels: int | None, max_pixels: int | None) -> ModelInputs:
    """Return what a checkpoint's family hands to its model, without torchvision.

    Args:
        path: The checkpoint.
        min_pixels: Replaces the checkpoint's smallest picture area.
        max_pixels: Replaces its largest.

    Raises:
        CheckpointError: If the directory or its image processor cannot be read, is of no known
            family, or the processor is another family's.
    """
    path = Path(path)
    check_folder(path, "preprocessor_config.json")
    load = INPUTS[load_family(path).name]
    return load(path, min_pixels=min_pixels, max_pixels=max_pixels)


def load_base(
    path: Path | str,
    *,
    dtype: DTypeName,
    attn_implementation: Attention,
    four_bits: FourBits | None = None,
) -> PreTrainedModel:
    """Return a base or merged model.

    Args:
        path: The checkpoint.
        dtype: Of its weights.
        attn_implementation: As in transformers.
        four_bits: How the language model's linear layers are quantised; None for not at all.

    Raises:
        CheckpointError: If the directory holds no model that transformers can load, or one of no
            known family, or lacks some of its weights, which would be random.
        InputError: If nothing can be quantised here.
    """
    path = Path(path)
    check_folder(path, "config.json")
    check_not_quantised(path)
    family = load_family(path)  # of another one, too much would be guessed
    options = {} if four_bits is None else four_bit_options(four_bits, family.towers)
    kind: str | torch.dtype = "auto" if dtype == "auto" else getattr(torch, dtype)
    try:
        loaded = AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=kind,
            attn_implementation=attn_implementation,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - of a broken file the library says no more than that
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: the model cannot be loaded: {reason}") from None
    model, found = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(f"{path}: {len(missing)} weights are missing, {missing[0]} first")
    install_recurrent_layers(model, family.recurrent)
    if four_bits is not None:
        settle_four_bits(model, four_bits)
    return model


def load_checkpoint(
    base: Path | str,
    path: Path | str,
    *,
    dtype: DTypeName = "auto",
    attn_implementation: Attention = "sdpa",
    trainable: bool = False,
    four_bits: FourBits | None = None,
) -> PeftModel:
    """Return a base with an adapter checkpoint on it: LoRA or DoRA and coord offsets.

    Args:
        base: The expanded base that the adapter was trained on.
        path: The checkpoint directory, with `coordexp.json`.
        dtype: Of the base's weights.
        attn_implementation: As in transformers.
        trainable: Whether to go on training it.
        four_bits: As in `load_base`.

    Raises:
        CheckpointError: If the base has another tokenizer or other coord rows than the one trained
            on, or the checkpoint's tables and weights are not exactly the ones that have a place.
    """
    base, path = Path(base), Path(path)
    for needed in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        check_folder(path, needed)
    card = load_weights_card(path)
    saved = _saved_tensors(path, card)
    check_same_base(card, base, path)
    model = load_base(
        base, dtype=dtype, attn_implementation=attn_implementation, four_bits=four_bits
    )
    if card.tie_head is not None and card.coord_ids is not None:
        first, last = card.coord_ids
        install_coord_offset_adapter(
            model,
            coord_ids=range(first, last + 1),
            tie_head=card.tie_head,
            dtype=next(tensor.dtype for name, tensor in saved.items() if ADAPTER_NAME in name),
        )
    try:
        restored = restore_lora(model, path, trainable=trainable)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the adapter does not fit {base}: {error}") from None
    _check_restored(restored, saved, path)
    return restored


def coord_rows(model: PreTrainedModel, first_id: int, last_id: int) -> Tensor:
    """Return a model's rows at the coord ids, without offsets, as `stored_rows` does a base's."""
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    embedding, head = (cast(Tensor, table.weight)[first_id : last_id + 1] for table in tables)
    return joined_rows(embedding, head)


def load_coord_vocab(path: Path | str, alphabet: CoordAlphabet) -> CoordVocab:
    """Return the coord vocabulary of a checkpoint.

    Raises:
        CheckpointError: If its tokenizer has no coord tokens; the message names the directory and
            the way out.
    """
    tokenizer = load_tokenizer(path)
    try:
        return CoordVocab.from_tokenizer(tokenizer, alphabet)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def check_base(path: Path, *, adapts_experts: bool) -> None:
    """Check that a folder has the files that a base is made of, whole as far as headers tell.

    Args:
        path: The folder.
        adapts_experts: Whether the experts of a mixture get LoRA, which is merged into stacks.

    Raises:
        CheckpointError: If there is no such folder, or one of them is missing or broken; or if the
            experts to adapt are stored one by one.
    """
    for needed in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        check_folder(path, needed)
    check_not_quantised(path)
    weights = load_weights(path)
    if adapts_experts:
        check_stacked(path, weights.by_name, load_family(path))


def check_same_base(card: WeightsCard, base: Path, path: Path) -> None:
    """Check that a base is the one that a checkpoint was trained on.

    Args:
        card: Of the checkpoint.
        base: The base.
        path: The checkpoint.

    Raises:
        CheckpointError: If its tokenizer or its rows at the coord ids are others.
    """
    _check_tokenizer(card, base, path)
    if card.coord_ids is not None:
        rows = stored_rows(base, card.coord_ids, load_family(base).vocabulary)
        check_same_rows(card, rows, base, path)


def _check_tokenizer(card: WeightsCard, base: Path, path: Path) -> None:
    tokenizer = load_tokenizer(base)
    if tokenizer_fingerprint(tokenizer) == card.tokenizer:
        return
    message = f"{base}: another tokenizer than {path} was trained with"
    if (path / "tokenizer_config.json").is_file():
        there, here = load_tokenizer(path).get_vocab(), tokenizer.get_vocab()
        message += f": {first_difference(there, here)}"
    raise CheckpointError(message)


def _saved_tensors(path: Path, card: WeightsCard) -> dict[str, Tensor]:
    """Return an adapter's tensors after checking that the promised offset tables are there."""
    try:
        saved: dict[str, Tensor] = load_file(path / ADAPTER_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path / ADAPTER_WEIGHTS}: cannot be read: {error}") from None
    promised = {None: 0, True: 1, False: 2}[card.tie_head]
    tables = [name for name in saved if ADAPTER_NAME in name]
    if len(tables) != promised:
        raise CheckpointError(
            f"{path / ADAPTER_WEIGHTS}: expected {promised} coord-offset tables, got {len(tables)}"
        )
    return saved


def _check_restored(model: PeftModel, saved: dict[str, Tensor], path: Path) -> None:
    """Check that every saved tensor has arrived where it belongs, and that nothing else is new."""
    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    if lost := sorted(saved.keys() ^ loaded.keys()):
        side = "finds no place in the model" if lost[0] in saved else "is missing in the checkpoint"
        raise CheckpointError(f"{path}: {lost[0]} {side}; {len(lost)} such tensors")
    for name, tensor in saved.items():
        if not torch.equal(tensor.to(loaded[name].dtype), loaded[name].cpu()):
            raise CheckpointError(f"{path}: {name} was not loaded as it was saved")
    if any(ADAPTER_NAME in name for name in saved):
        reattach_coord_offset_hooks(model)
