"""CoordExp in ms-swift: the same objective, adapter, optimizer groups and figures.

::

    swift sft ... --external_plugins PLUGIN        coordexp train --config X.yaml, host: ms_swift
                     |                                          |
           config_of_arguments                            the YAML itself
                     +------------------ connect --------------+
                                            |
                 between SwiftSft(...) and .run(): template, offsets, loss, optimizer

Supported is ms-swift 4.6. See `docs/ms-swift.md` for users.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.families.known import load_family
from coordexp.integrations.ms_swift.refusals import LOSS, OPTIMIZER, check_arguments, family_fault
from coordexp.integrations.ms_swift.template import apply_coord_template_adapter, write_as_we_do
from coordexp.integrations.ms_swift.trainer import Hosted
from coordexp.model.adapters import check_places, lora_target_pattern
from coordexp.model.coord_offset import ADAPTER_NAME
from coordexp.training.loop.optimizer import parameter_groups
from coordexp.training.run.base_card import build_card
from coordexp.training.run.build import (
    build_encoder,
    build_objective,
    build_style,
    build_vocab,
    install_offsets,
    lora_places,
)
from coordexp.training.run.experts_note import experts_note
from coordexp.training.run.stage1 import write_beside_weights

logger = logging.getLogger(__name__)


def connect(
    sft: Any,  # noqa: ANN401 - ms-swift's SwiftSft
    config: Config,
    *,
    classes: Sequence[str] | None,
) -> Hosted:
    """Give a run of ms-swift that has its model and template, and has not begun, what it lacks.

    Args:
        sft: Changed in place.
        config: Of the run.
        classes: What is trained, for `coordexp.json`; None where nobody can list it.

    Raises:
        InputError: If arguments of ms-swift do not go together with the coord objective.
        CheckpointError: If the base has no coord tokens.
    """
    check_arguments(sft.args, sft.template)
    if fault := family_fault(config.model.path):
        raise InputError(f"ms-swift: {fault}")
    vocab = build_vocab(config)
    encoder = build_encoder(config.model.path, build_style(config))
    apply_coord_template_adapter(sft.template, config.custom.coord_tokens)
    write_as_we_do(sft.template, encoder)
    install_offsets(config, sft.model, vocab)
    _set_arguments(sft.args, config, sft.model)
    card = build_card(config, vocab, encoder.tokenizer)

    def write_extras(directory: Path) -> None:
        encoder.tokenizer.save_pretrained(directory)
        write_beside_weights(directory, config, encoder.style, card, classes)

    hosted = Hosted(
        objective=build_objective(config, vocab),
        groups=parameter_groups(config, load_family(config.model.path)),
        write_extras=write_extras,
    )
    sft._get_trainer_kwargs = lambda: {"hosted": hosted}  # noqa: SLF001 - its hook for subclasses
    sft.coordexp = hosted
    return hosted


def is_connected(sft: Any) -> bool:  # noqa: ANN401
    """Return whether `connect` has seen a run."""
    return hasattr(sft, "coordexp")


def _set_arguments(args: Any, config: Config, model: PreTrainedModel) -> None:  # noqa: ANN401
    if isinstance(args.target_modules, list):
        family, (towers, leaves) = load_family(config.model.path), lora_places(config)
        check_places(model, family, towers, leaves)
        for note in experts_note(config, model, family):
            logger.warning(note)
        # ms-swift's own all-linear takes the wrapped head too, and non-coord logits would move.
        args.target_modules = lora_target_pattern(family.towers, towers, leaves)
    if config.custom.coord_offset.enabled and ADAPTER_NAME not in args.modules_to_save:
        args.modules_to_save = [*args.modules_to_save, ADAPTER_NAME]
    for holder in (args, args.training_args):
        holder.loss_type, holder.optimizer = LOSS, OPTIMIZER
