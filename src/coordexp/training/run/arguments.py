"""From a configuration to transformers' own arguments."""

from dataclasses import fields

from transformers import TrainingArguments

from coordexp.config.schema import Config
from coordexp.training.loop.engines import engine_arguments
from coordexp.training.run.machine import has_gpu
from coordexp.training.run.setup_errors import setup_errors


def build_arguments(config: Config, *, world_size: int) -> TrainingArguments:
    """Return transformers' arguments of the run."""
    training = config.training
    theirs = {field.name for field in fields(TrainingArguments)} - {"gradient_accumulation_steps"}
    passed_on = training.model_dump(include=theirs)
    passed_on |= engine_arguments(config)
    # The name since transformers 5.24, which warns of the old one.
    renamed = "activation_checkpointing"
    checkpointing = renamed if renamed in theirs else "gradient_checkpointing"
    passed_on[checkpointing] = passed_on.pop("gradient_checkpointing")
    passed_on[f"{checkpointing}_kwargs"] = {"use_reentrant": False}
    passed_on["report_to"] = (
        list(training.report_to) if isinstance(training.report_to, tuple) else training.report_to
    )
    with setup_errors("transformers' Trainer"):
        return TrainingArguments(
            **passed_on,
            gradient_accumulation_steps=training.accumulation_steps(world_size=world_size),
            # Every batch has a picture, a blank one if need be: all that learns is in every step.
            ddp_find_unused_parameters=False,
            remove_unused_columns=False,
            label_names=["labels"],
            prediction_loss_only=True,
            # A NaN is shown and stops the run; transformers would hide it.
            logging_nan_inf_filter=False,
            dataloader_pin_memory=has_gpu(config),
            disable_tqdm=True,
        )
