"""The model of a run without its weights: the real classes, adapters and offsets, as shapes.

Of the base, `config.json` is enough. Rows of the coord ids are taken from the end of the
vocabulary: which ones they are changes no size.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from coordexp.config.schema import Config
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.families.family import Family
from coordexp.families.known import load_family
from coordexp.families.recurrent_layers import install_recurrent_layers
from coordexp.inspection.plan.hollow_math import FLASH, SDPA, install_hollow_attention
from coordexp.inspection.plan.hollow_states import StateBook, install_state_book
from coordexp.model.adapters import base_model
from coordexp.model.four_bit import four_bit_pattern
from coordexp.model.hidden_head import LossHead, install_loss_head
from coordexp.training.run.build import TrainedModel, install_offsets, tuned


@dataclass(frozen=True, slots=True)
class HollowModel:
    """A model that has shapes and no numbers.

    Args:
        model: With its adapters, as it is trained.
        head: Hands on hidden states.
        dtype: Of the base's weights.
        bins: Coord tokens, 0 without them.
        states: What its layers with states cost.
        four_bits: The weights that are held in four bits; none without quantisation.
    """

    model: TrainedModel
    head: LossHead
    dtype: torch.dtype
    bins: int
    states: StateBook
    four_bits: tuple[Tensor, ...] = ()

    @property
    def base(self) -> PreTrainedModel:
        """The model without PEFT around it."""
        return base_model(self.model)

    @property
    def learning(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return [one for one in self.model.parameters() if one.requires_grad]


def build_hollow(config: Config, *, flash: bool) -> HollowModel:
    """Return the model of a run as shapes.

    Args:
        config: Of the run; of its base only `config.json` is read.
        flash: Whether attention takes each example of a pack alone.

    Raises:
        CheckpointError: If `config.json` is missing, broken, or describes no model of a known
            family; or has fewer rows than coord tokens.
        InputError: If the configuration adapts nothing that is there.
    """
    path = config.model.path
    family = load_family(path)
    described = _described(path)
    dtype = weights_dtype(config, described)
    install_hollow_attention()
    with torch.device("meta"):
        try:
            base = AutoModelForImageTextToText.from_config(
                described, dtype=dtype, attn_implementation=FLASH if flash else SDPA
            )
        except Exception as error:  # noqa: BLE001 - of a broken file the library says no more
            raise CheckpointError(
                f"{path / 'config.json'}: no model can be built of it: "
                f"{type(error).__name__}: {error}"
            ) from None
    install_recurrent_layers(base, family.recurrent)
    states = install_state_book(base, computing_dtype(config))
    base.config.get_text_config().use_cache = False
    vocab = _vocab(config, base)
    four_bits = _four_bits(config, base, family)
    install_offsets(config, base, vocab)
    model = tuned(config, base)
    model.train()
    head = install_loss_head(base_model(model))
    bins = 0 if vocab is None else vocab.alphabet.bins
    return HollowModel(model, head, dtype, bins, states, four_bits)


def computing_dtype(config: Config) -> torch.dtype | None:
    """Return the dtype of mixed precision, None without it."""
    kinds = {config.training.bf16: torch.bfloat16, config.training.fp16: torch.float16}
    return kinds.get(True)


def weights_dtype(config: Config, described: PreTrainedConfig) -> torch.dtype:
    """Return the dtype of the weights: the run's, else the base's, else bfloat16."""
    if config.model.dtype != "auto":
        return cast(torch.dtype, getattr(torch, config.model.dtype))
    stored = described.dtype or described.get_text_config().dtype
    return stored if isinstance(stored, torch.dtype) else torch.bfloat16


def _four_bits(config: Config, base: PreTrainedModel, family: Family) -> tuple[Tensor, ...]:
    if config.model.quantization is None:
        return ()
    quantised = re.compile(four_bit_pattern(family.towers))
    return tuple(
        module.weight
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and quantised.fullmatch(name)
    )


def _described(path: Path) -> PreTrainedConfig:
    try:
        return cast(PreTrainedConfig, AutoConfig.from_pretrained(path, local_files_only=True))
    except Exception as error:  # noqa: BLE001 - of a broken file the library says no more than that
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path / 'config.json'}: cannot be read: {reason}") from None


def _vocab(config: Config, base: PreTrainedModel) -> CoordVocab | None:
    if not config.custom.coord_tokens.enabled:
        return None
    alphabet = config.custom.coord_tokens.alphabet.to_alphabet()
    rows = len(cast(Tensor, base.get_input_embeddings().weight))
    if rows < alphabet.bins:
        raise CheckpointError(
            f"{config.model.path / 'config.json'}: {rows} rows of vocabulary hold no "
            f"{alphabet.bins} coord tokens"
        )
    return CoordVocab(alphabet=alphabet, first_id=rows - alphabet.bins)
