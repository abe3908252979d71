"""From a configuration to the objects of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from coordexp.config.schema import Config
from coordexp.coord_tokens.vocab import CoordVocab, check_ids
from coordexp.data.files.kinds import geometry_kinds
from coordexp.data.plan.class_lists import ClassLists
from coordexp.errors import CheckpointError, InputError
from coordexp.families.family import Family
from coordexp.families.known import load_family
from coordexp.families.towers import TOWERS, Tower, tower_of
from coordexp.model.adapters import adapter_targets, base_model, install_lora
from coordexp.model.card import WeightsCard, load_weights_card
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    find_offset_head,
    install_coord_offset_adapter,
    reattach_coord_offset_hooks,
)
from coordexp.model.load import (
    load_base,
    load_checkpoint,
    load_coord_vocab,
    load_inputs,
    load_tokenizer,
)
from coordexp.objective import CoordTarget, CoordWeights
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle
from coordexp.training.run.base_card import build_card
from coordexp.training.run.class_list import listed_classes
from coordexp.training.run.machine import attention_of, four_bits_of, has_gpu
from coordexp.training.step.loss_function import Objective

TrainedModel = PreTrainedModel | PeftModel


@dataclass(frozen=True, slots=True)
class Learner:
    """A model that is ready to be trained.

    Args:
        model: With its adapters.
        card: What its checkpoints must carry about the base.
    """

    model: TrainedModel
    card: WeightsCard


def build_style(config: Config, *, listed: Sequence[str] | None = None) -> RenderingStyle:
    """Return how records are asked for and answered.

    The default question depends on what the training records hold. It is found here, once, and
    goes into `coordexp.json`; inference reads it there.

    Args:
        config: Of the run.
        listed: From `listed_classes`, where that was read already.

    Raises:
        InputError: If questions name classes, and the records have none.
    """
    custom = config.custom
    asks_by_default = custom.user_prompt is None
    kinds = geometry_kinds(part.path for part in config.data.parts) if asks_by_default else ()
    listed = listed_classes(config) if listed is None else listed
    return RenderingStyle(
        system_prompt=custom.system_prompt,
        user_prompt=custom.question(kinds, listed=listed),
        class_prompt=custom.class_question(kinds),
        json_format=custom.json_format,
        object_ordering=custom.object_ordering,
        coord_tokens=custom.coord_tokens.enabled,
        alphabet=custom.coord_tokens.alphabet.to_alphabet(),
        min_pixels=config.data.min_pixels,
        max_pixels=config.data.max_pixels,
    )


def build_encoder(
    path: Path,
    style: RenderingStyle,
    *,
    with_token_types: bool = False,
    class_lists: ClassLists | None = None,
) -> Encoder:
    """Return the encoder of a checkpoint's tokenizer and its family's inputs."""
    inputs = load_inputs(path, min_pixels=style.min_pixels, max_pixels=style.max_pixels)
    return Encoder(
        load_tokenizer(path),
        inputs,
        style,
        with_token_types=with_token_types,
        class_lists=class_lists,
    )


def build_vocab(config: Config) -> CoordVocab | None:
    """Return the base's coord vocabulary, None for the text baseline.

    Raises:
        CheckpointError: If the base has no coord tokens, or other ids than the configuration names.
    """
    if not config.custom.coord_tokens.enabled:
        return None
    vocab = load_coord_vocab(config.model.path, config.custom.coord_tokens.alphabet.to_alphabet())
    given = config.custom.coord_offset.given_ids()
    if given is not None:
        check_ids(given, vocab)
    return vocab


def build_objective(config: Config, vocab: CoordVocab | None) -> Objective:
    """Return the stage-1 objective.

    Raises:
        InputError: If its backend cannot run here.
    """
    block, training = config.custom.coord_soft_ce_w1, config.training
    if training.objective_backend == "triton" and not has_gpu(config):
        raise InputError("training.objective_backend: triton needs a CUDA device; use auto")
    return Objective(
        coord_ids=range(0) if vocab is None else vocab.ids,
        weights=CoordWeights(**block.weights),
        target=CoordTarget(
            sigma=block.target_sigma,
            truncate=block.target_truncate,
            temperature=block.temperature,
            w1_unit=block.w1_unit,
            w1_target=block.w1_target,
        ),
        backend=training.objective_backend,
    )


def build_learner(
    config: Config, vocab: CoordVocab | None, tokenizer: PreTrainedTokenizerBase
) -> Learner:
    """Return the model to train, frozen and adapted as the configuration says.

    Raises:
        CheckpointError: If the base has fewer rows than coord ids, or an adapter to go on from does
            not belong to it.
        InputError: If that adapter is of another make than the configuration says.
    """
    model = _resumed(config) if config.tuner.resume_adapter else _fresh(config, vocab)
    base = base_model(model)
    # Generation's cache would make packed and padded attention differ, and costs memory.
    base.config.get_text_config().use_cache = False
    return Learner(model=model, card=build_card(config, vocab, tokenizer))


def _resumed(config: Config) -> PeftModel:
    block, path = config.model, config.tuner.resume_adapter
    if path is None:
        raise TypeError("nothing to resume")
    _check_make(config, path)
    return load_checkpoint(
        block.path,
        path,
        dtype=block.dtype,
        attn_implementation=attention_of(config),
        trainable=True,
        four_bits=four_bits_of(config),
    )


def _check_make(config: Config, path: Path) -> None:
    """Compare what the configuration says of the adapter with what the checkpoint holds."""
    tuner, offset = config.tuner, config.custom.coord_offset
    if not (path / "adapter_config.json").is_file():
        raise CheckpointError(f"{path}: adapter_config.json is missing; expected an adapter")
    saved = LoraConfig.from_pretrained(str(path))
    towers, leaves = lora_places(config)
    names = load_family(config.model.path).towers
    pairs = {
        "tuner.lora_rank": (tuner.lora_rank, saved.r),
        "tuner.lora_alpha": (tuner.lora_alpha, saved.lora_alpha),
        "tuner.use_dora": (tuner.use_dora, saved.use_dora),
        "tuner.target_modules and tuner.freeze_*": (
            adapter_targets(names, towers, leaves, has_offsets=offset.enabled),
            saved.target_modules,
        ),
        "tuner.train_experts": (tuner.train_experts, bool(saved.target_parameters)),
        "custom.coord_offset.tie_head": (
            offset.tie_head if offset.enabled else None,
            load_weights_card(path).tie_head,
        ),
    }
    others = [
        f"{key} {ours!r}, there {theirs!r}"
        for key, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
    if others:
        raise InputError(f"tuner.resume_adapter: {path} is of another make: {'; '.join(others)}")


def _fresh(config: Config, vocab: CoordVocab | None) -> TrainedModel:
    block = config.model
    base = load_base(
        block.path,
        dtype=block.dtype,
        attn_implementation=attention_of(config),
        four_bits=four_bits_of(config),
    )
    install_offsets(config, base, vocab)
    return tuned(config, base)


def install_offsets(config: Config, base: PreTrainedModel, vocab: CoordVocab | None) -> None:
    """Give a loaded base the coord offsets that the configuration asks for, none perhaps.

    Raises:
        CheckpointError: If the base has fewer rows than coord ids.
    """
    offset = config.custom.coord_offset
    if vocab is not None:
        _check_size(config, base, vocab)
    if offset.enabled and vocab is not None:
        dtypes = {"auto": torch.float32, "model": base.dtype}
        install_coord_offset_adapter(
            base,
            coord_ids=vocab.ids,
            tie_head=offset.tie_head,
            dtype=dtypes.get(offset.dtype) or getattr(torch, offset.dtype),
        )


def _check_size(config: Config, base: PreTrainedModel, vocab: CoordVocab) -> None:
    rows = len(cast(Tensor, base.get_input_embeddings().weight))
    if vocab.ids.stop > rows:
        raise CheckpointError(
            f"{config.model.path}: the model has {rows} rows, coord ids reach {vocab.ids.stop - 1}"
        )


def tuned(config: Config, base: PreTrainedModel) -> TrainedModel:
    """Return a base, its offsets installed, with what learns of it: adapters, or its own weights.

    Raises:
        CheckpointError: If the family does not know a part of the model.
        InputError: If the places for adapters name nothing.
    """
    tuner = config.tuner
    towers, leaves = lora_places(config)
    family = load_family(config.model.path)
    if tuner.train_type == "full":
        _choose_what_learns(base, towers, family)
        return base
    return install_lora(
        base,
        family=family,
        towers=towers,
        leaves=leaves,
        experts=tuner.train_experts,
        rank=tuner.lora_rank,
        alpha=tuner.lora_alpha,
        dropout=tuner.lora_dropout,
        use_dora=tuner.use_dora,
    )


def _choose_what_learns(base: PreTrainedModel, towers: Sequence[Tower], family: Family) -> None:
    """Let whole towers learn; of a vocabulary with offsets, only these.

    Raises:
        CheckpointError: If a parameter belongs to none, and would be left out in silence.
    """
    head = find_offset_head(base)
    frozen = () if head is None else (head.weight, head.embedding.weight)
    for name, parameter in base.named_parameters():
        is_vocabulary = any(parameter is table for table in frozen)
        tower = tower_of(name, family.towers)
        if tower is None:
            raise CheckpointError(f"the family {family.name} does not know where {name} belongs")
        learns = ADAPTER_NAME in name or (tower in towers and not is_vocabulary)
        parameter.requires_grad_(learns)
    if head is not None:
        reattach_coord_offset_hooks(base)


def lora_places(config: Config) -> tuple[list[Tower], tuple[str, ...] | None]:
    """Return the towers that get LoRA, and the last names of its layers; None for all of them."""
    tuner = config.tuner
    frozen = {
        "vision": tuner.freeze_vit,
        "aligner": tuner.freeze_aligner,
        "language": tuner.freeze_llm,
    }
    leaves = None if tuner.target_modules == "all-linear" else tuner.target_modules
    return [tower for tower in TOWERS if not frozen[tower]], leaves
