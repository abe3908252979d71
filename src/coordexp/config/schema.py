"""Every key of the configuration: its type, its default, its meaning. Defaults live here alone.

Relative paths are taken from the current directory, as transformers does; only `extends` is
relative to its file. Read configurations with `coordexp.config.load.load_config`, which reports
every problem at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from coordexp.config.augment import Augment
from coordexp.config.block import Block, PositiveFloat, PositiveInt, Share, kind_of_value
from coordexp.config.custom import Custom
from coordexp.config.training import OptimizerName, Training

TargetModules = Annotated[
    Annotated[Literal["all-linear"], Tag("text")]
    | Annotated[tuple[str, ...], Field(min_length=1), Tag("list")],
    Discriminator(kind_of_value),
]


class Model(Block):
    """The base that is trained."""

    path: Path
    """Folder of the base checkpoint, its vocabulary expanded by `coordexp vocab expand` where coord
    tokens are used."""
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """Which attention kernels run; `auto` is `flash_attention_2` for packs in half precision, where
    flash-attn is installed and runs on the GPU, else `sdpa`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the base's weights; `auto` takes them as stored."""
    quantization: Literal["nf4"] | None = None
    """QLoRA: `nf4` holds the language model's linear layers, frozen under their adapters, in four
    bits (bitsandbytes, `pip install '.[qlora]'`). Vocabulary, vision tower and aligner stay in
    `dtype`, offsets in float32. `coordexp merge` merges into the base as it is stored."""


class Tuner(Block):
    """Which weights learn."""

    train_type: Literal["lora", "full"] = "lora"
    """Low-rank adapters, or the weights themselves."""
    use_dora: bool = False
    """DoRA: LoRA with a learned magnitude."""
    lora_rank: PositiveInt = 16
    """Rank of the adapters."""
    lora_alpha: PositiveInt = 32
    """Scale of the adapters, divided by the rank."""
    lora_dropout: Share = 0.0
    """Share of inputs that an adapter does not see while training."""
    target_modules: TargetModules = "all-linear"
    """Layers that get an adapter: every linear one below the head, or a list of name endings."""
    train_experts: bool = False
    """Give the experts of a mixture LoRA too, each its own. They are no linear layers, and stay as
    they are otherwise. Not with DoRA or dropout."""
    freeze_vit: bool = False
    """Leave the vision tower as it is."""
    freeze_aligner: bool = False
    """Leave the aligner between vision and language as it is."""
    freeze_llm: bool = False
    """Leave the language model as it is."""
    resume_adapter: Path | None = None
    """Checkpoint whose adapter is the starting point; optimizer and schedule start anew."""


class MixPart(Block):
    """One file of several to learn from."""

    path: Path
    """JSONL of records, of chats, or of both."""
    weight: PositiveFloat = 1.0
    """How often an epoch holds each line."""


class Data(Block):
    """Records to learn from."""

    train: Path | None = None
    """JSONL of training records, of chats, or of both; needed where there is no `mix`."""
    mix: Annotated[tuple[MixPart, ...], Field(min_length=1)] | None = None
    """Several files to train on, in place of `train`. A `weight` (1.0 if left out) says how often
    an epoch holds each line: 1 is once, 0.5 a random half, another one each epoch, 2.5 twice and a
    random half a third time."""
    eval: Path | None = None
    """JSONL of held-out records for `training.eval_strategy`."""
    min_pixels: PositiveInt | None = None
    """Images smaller than this are enlarged for the model; null is the processor's own. Bins never
    change."""
    max_pixels: PositiveInt | None = None
    """Images larger than this are reduced for the model; null is the processor's own."""
    augment: Augment = Augment()

    @property
    def parts(self) -> tuple[MixPart, ...]:
        """The files to train on, one or several."""
        return self.mix or (() if self.train is None else (MixPart(path=self.train),))

    @model_validator(mode="after")
    def _train_or_mix(self) -> Self:
        if (self.train is None) == (self.mix is None):
            raise ValueError("expected one of train (a path) and mix (a list of path and weight)")
        return self

    @model_validator(mode="after")
    def _least_below_most(self) -> Self:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(
                f"min_pixels {self.min_pixels} is more than max_pixels {self.max_pixels}"
            )
        return self


@dataclass(frozen=True)
class BrokenRule:
    """A rule across blocks that does not hold.

    Args:
        key: Dotted path that the message is about.
        message: What to do.
        reads: Every key that the rule looked at; where one of them is itself wrong, the rule is
            not reported.
    """

    key: str
    message: str
    reads: tuple[str, ...]


class BrokenRulesError(ValueError):
    """All rules across blocks that do not hold."""

    def __init__(self, broken: tuple[BrokenRule, ...]) -> None:
        self.broken = broken
        super().__init__("; ".join(f"{rule.key}: {rule.message}" for rule in broken))


_TOKENS = "custom.coord_tokens.enabled"
_LOSS = "custom.coord_soft_ce_w1.enabled"
_OFFSET = "custom.coord_offset.enabled"
_OPTIMIZER = "training.optimizer"
_FOUR_BITS = "model.quantization"


class Config(Block):
    """One run."""

    host: Literal["plain", "ms_swift"] = "plain"
    """Whose trainer runs: our thin one over transformers, or ms-swift's, where it is installed."""
    model: Model
    tuner: Tuner = Tuner()
    training: Training
    data: Data
    custom: Custom = Custom()
    deepspeed: Path | None = None
    """DeepSpeed's JSON (`configs/deepspeed/zero2.json`); null runs without it. ZeRO-3 is refused,
    and so is what the other blocks say already."""

    @model_validator(mode="after")
    def _rules_across_blocks(self) -> Self:
        broken = tuple(found for rule in self.rules for found in rule(self))
        if broken:
            raise BrokenRulesError(broken)
        return self

    @model_validator(mode="after")
    def _optimizer_follows_the_offsets(self) -> Self:
        # Named here and not where it is read, so that a saved configuration names it too, and a
        # run may be started again with the key left out.
        if self.training.optimizer is not None:
            return self
        named = self.training.model_copy(update={"optimizer": self._fitting_optimizer()})
        return self.model_copy(update={"training": named})

    def _fitting_optimizer(self) -> OptimizerName:
        return "multimodal_coord_offset" if self.custom.coord_offset.enabled else "multimodal"

    def _coord_tokens_need_the_coord_loss(self) -> Iterator[BrokenRule]:
        """`custom.coord_tokens.enabled` needs `custom.coord_soft_ce_w1.enabled`."""
        if self.custom.coord_tokens.enabled and not self.custom.coord_soft_ce_w1.enabled:
            yield BrokenRule(_TOKENS, f"coord tokens need {_LOSS}: true", (_TOKENS, _LOSS))

    def _the_coord_loss_needs_coord_tokens(self) -> Iterator[BrokenRule]:
        """`custom.coord_soft_ce_w1.enabled` needs `custom.coord_tokens.enabled`."""
        if self.custom.coord_soft_ce_w1.enabled and not self.custom.coord_tokens.enabled:
            message = f"the coord loss has nothing to supervise without {_TOKENS}: true"
            yield BrokenRule(_LOSS, message, (_TOKENS, _LOSS))

    def _coord_offset_needs_coord_tokens(self) -> Iterator[BrokenRule]:
        """`custom.coord_offset.enabled` needs `custom.coord_tokens.enabled`."""
        if self.custom.coord_offset.enabled and not self.custom.coord_tokens.enabled:
            message = f"coord offsets have nothing to learn without {_TOKENS}: true"
            yield BrokenRule(_OFFSET, message, (_TOKENS, _OFFSET))

    def _coord_offset_needs_its_optimizer(self) -> Iterator[BrokenRule]:
        """`training.optimizer: multimodal_coord_offset` goes with `custom.coord_offset.enabled`."""
        named, fitting = self.training.optimizer, self._fitting_optimizer()
        if named is None or named == fitting:
            return
        reads = (_OFFSET, _OPTIMIZER)
        if self.custom.coord_offset.enabled:
            message = (
                f"coord offsets need {_OPTIMIZER}: {fitting}, got {named}, which has no group for "
                "them; leave the optimizer out, and it follows"
            )
            yield BrokenRule(_OFFSET, message, reads)
        else:
            message = (
                f"{named} needs {_OFFSET}: true; without offsets use {fitting}, or leave it out"
            )
            yield BrokenRule(_OPTIMIZER, message, reads)

    def _coord_offset_ids_cover_the_bins(self) -> Iterator[BrokenRule]:
        """`custom.coord_offset.ids`, where given, holds one id for each bin, `end` included."""
        ids = self.custom.coord_offset.given_ids()
        bins = self.custom.coord_tokens.alphabet.bins
        if ids is not None and len(set(ids)) != bins:
            key = "custom.coord_offset.ids"
            message = f"expected one id for each of {bins} bins (end included), got {len(set(ids))}"
            yield BrokenRule(key, message, (key, "custom.coord_tokens.alphabet.bins"))

    def _evaluation_needs_records(self) -> Iterator[BrokenRule]:
        """`training.eval_strategy` other than `no` needs `data.eval`."""
        if self.training.eval_strategy != "no" and self.data.eval is None:
            key = "training.eval_strategy"
            message = f"{self.training.eval_strategy} needs data.eval"
            yield BrokenRule(key, message, (key, "data.eval"))

    def _a_detection_evaluation_needs_records(self) -> Iterator[BrokenRule]:
        """`training.detection_eval.steps` needs `data.eval`."""
        if self.training.detection_eval.steps is not None and self.data.eval is None:
            key = "training.detection_eval.steps"
            yield BrokenRule(key, "it needs data.eval", (key, "data.eval"))

    def _deepspeed_cannot_skip_a_step(self) -> Iterator[BrokenRule]:
        """`custom.instability_monitor.on_non_finite: skip_step` goes without DeepSpeed."""
        monitor = self.custom.instability_monitor
        key = "custom.instability_monitor.on_non_finite"
        if monitor.enabled and monitor.on_non_finite == "skip_step" and self.deepspeed is not None:
            message = "DeepSpeed moves the weights before a step can be judged; use stop"
            yield BrokenRule(key, message, (key, "deepspeed"))

    def _four_bits_cannot_learn(self) -> Iterator[BrokenRule]:
        """`model.quantization` needs `tuner.train_type: lora`."""
        if self.model.quantization is not None and self.tuner.train_type != "lora":
            message = "weights in four bits cannot learn; use tuner.train_type: lora, or null here"
            yield BrokenRule(_FOUR_BITS, message, (_FOUR_BITS, "tuner.train_type"))

    def _four_bits_go_without_deepspeed(self) -> Iterator[BrokenRule]:
        """`model.quantization` goes without DeepSpeed, which is not tried with it."""
        if self.model.quantization is not None and self.deepspeed is not None:
            message = (
                "it goes without deepspeed; several GPUs have a model each in four bits, with "
                "torchrun alone"
            )
            yield BrokenRule(_FOUR_BITS, message, (_FOUR_BITS, "deepspeed"))

    def _four_bits_are_the_plain_hosts(self) -> Iterator[BrokenRule]:
        """`model.quantization` needs `host: plain`."""
        if self.model.quantization is not None and self.host != "plain":
            message = "ms-swift loads the base its own way; use host: plain, or null here"
            yield BrokenRule(_FOUR_BITS, message, (_FOUR_BITS, "host"))

    def _class_lists_are_the_plain_hosts(self) -> Iterator[BrokenRule]:
        """`custom.class_list` needs `host: plain`."""
        if self.custom.class_list is not None and self.host != "plain":
            key = "custom.class_list"
            message = (
                "ms-swift is given each record's question once, for all epochs; use host: plain, "
                "or custom.classes"
            )
            yield BrokenRule(key, message, (key, "host"))

    def _a_resumed_adapter_needs_lora(self) -> Iterator[BrokenRule]:
        """`tuner.resume_adapter` needs `tuner.train_type: lora`."""
        if self.tuner.resume_adapter is not None and self.tuner.train_type != "lora":
            key = "tuner.resume_adapter"
            message = "an adapter needs tuner.train_type: lora"
            yield BrokenRule(key, message, (key, "tuner.train_type"))

    def _experts_take_plain_lora(self) -> Iterator[BrokenRule]:
        """`tuner.train_experts` needs plain LoRA without dropout, a language model that learns."""
        tuner, key = self.tuner, "tuner.train_experts"
        if not tuner.train_experts:
            return
        ruled_out = {
            "tuner.train_type": (tuner.train_type != "lora", "full trains the experts anyway"),
            "tuner.use_dora": (tuner.use_dora, "there is no DoRA for the stacked matrices"),
            "tuner.lora_dropout": (tuner.lora_dropout > 0, "it goes without lora_dropout"),
            "tuner.freeze_llm": (tuner.freeze_llm, "the experts are in the language model"),
            "host": (self.host != "plain", "ms-swift gives LoRA to linear layers alone"),
        }
        for other, (holds, message) in ruled_out.items():
            if holds:
                yield BrokenRule(key, f"{message}; change one of {key}, {other}", (key, other))

    def _something_learns(self) -> Iterator[BrokenRule]:
        """At least one tower learns, or the coord offsets do."""
        towers = ("tuner.freeze_vit", "tuner.freeze_aligner", "tuner.freeze_llm")
        frozen = self.tuner.freeze_vit and self.tuner.freeze_aligner and self.tuner.freeze_llm
        if frozen and not self.custom.coord_offset.enabled:
            message = "every tower is frozen and there are no coord offsets: nothing learns"
            yield BrokenRule("tuner", message, (*towers, _OFFSET))

    def _augmentation_fits_the_run(self) -> Iterator[BrokenRule]:
        """`data.augment` needs `host: plain`, coord tokens with `global_max_length`, no sides."""
        augment, custom, key = self.data.augment, self.custom, "data.augment"
        if augment.to_augmentation() is None:
            return
        if self.host != "plain":
            message = "ms-swift reads each picture its own way; use host: plain"
            yield BrokenRule(key, message, (key, "host"))
        limit = "training.global_max_length"
        if self.training.global_max_length is not None and not custom.coord_tokens.enabled:
            message = f"plain integers change an answer's length; it goes without {limit}, or with"
            yield BrokenRule(key, f"{message} {_TOKENS}: true", (key, limit, _TOKENS))
        asked = (custom.user_prompt or "", custom.system_prompt or "", *(custom.classes or ()))
        for flip in augment.wrong_flips(asked):
            message = "the prompts of custom say on which side something is; leave the flip out"
            yield BrokenRule(f"{key}.flip_{flip}", message, (f"{key}.flip_{flip}", "custom"))

    rules: ClassVar[tuple[Callable[["Config"], Iterator[BrokenRule]], ...]] = (
        _coord_tokens_need_the_coord_loss,
        _the_coord_loss_needs_coord_tokens,
        _coord_offset_needs_coord_tokens,
        _coord_offset_needs_its_optimizer,
        _coord_offset_ids_cover_the_bins,
        _evaluation_needs_records,
        _a_detection_evaluation_needs_records,
        _deepspeed_cannot_skip_a_step,
        _four_bits_cannot_learn,
        _four_bits_go_without_deepspeed,
        _four_bits_are_the_plain_hosts,
        _class_lists_are_the_plain_hosts,
        _a_resumed_adapter_needs_lora,
        _experts_take_plain_lora,
        _something_learns,
        _augmentation_fits_the_run,
    )
