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

from coordexp.config.block import Block, PositiveInt, Share, kind_of_value
from coordexp.config.custom import Custom
from coordexp.config.training import Training

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
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Which attention kernels run."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the base's weights; `auto` takes them as stored."""


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
    freeze_vit: bool = False
    """Leave the vision tower as it is."""
    freeze_aligner: bool = False
    """Leave the aligner between vision and language as it is."""
    freeze_llm: bool = False
    """Leave the language model as it is."""
    resume_adapter: Path | None = None
    """Checkpoint whose adapter is the starting point; optimizer and schedule start anew."""


class Data(Block):
    """Records to learn from."""

    train: Path
    """JSONL of training records."""
    eval: Path | None = None
    """JSONL of held-out records for `training.eval_strategy`."""
    min_pixels: PositiveInt | None = None
    """Images smaller than this are enlarged for the model; null is the processor's own. Bins never
    change."""
    max_pixels: PositiveInt | None = None
    """Images larger than this are reduced for the model; null is the processor's own."""

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


class Config(Block):
    """One run."""

    host: Literal["plain", "ms_swift"] = "plain"
    """Whose trainer runs: our thin one over transformers, or ms-swift's, which is not available
    yet."""
    model: Model
    tuner: Tuner = Tuner()
    training: Training
    data: Data
    custom: Custom = Custom()
    deepspeed: Path | None = None
    """DeepSpeed's JSON configuration; null runs without DeepSpeed."""

    @model_validator(mode="after")
    def _rules_across_blocks(self) -> Self:
        broken = tuple(found for rule in self.rules for found in rule(self))
        if broken:
            raise BrokenRulesError(broken)
        return self

    def _host_is_available(self) -> Iterator[BrokenRule]:
        """`host: ms_swift` is not available yet."""
        if self.host == "ms_swift":
            message = "ms_swift is not available yet; use plain"
            yield BrokenRule("host", message, ("host",))

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
        """`custom.coord_offset.enabled` goes with `training.optimizer: multimodal_coord_offset`."""
        named = self.training.optimizer == "multimodal_coord_offset"
        reads = (_OFFSET, _OPTIMIZER)
        if self.custom.coord_offset.enabled and not named:
            message = f"coord offsets need {_OPTIMIZER}: multimodal_coord_offset"
            yield BrokenRule(_OFFSET, message, reads)
        if named and not self.custom.coord_offset.enabled:
            message = (
                f"multimodal_coord_offset needs {_OFFSET}: true; without offsets use multimodal"
            )
            yield BrokenRule(_OPTIMIZER, message, reads)

    def _coord_offset_needs_an_adapter(self) -> Iterator[BrokenRule]:
        """`custom.coord_offset.enabled` needs `tuner.train_type: lora`: it is saved with it."""
        if self.custom.coord_offset.enabled and self.tuner.train_type != "lora":
            message = "coord offsets are saved with a LoRA adapter; use tuner.train_type: lora"
            yield BrokenRule(_OFFSET, message, (_OFFSET, "tuner.train_type"))

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

    def _a_resumed_adapter_needs_lora(self) -> Iterator[BrokenRule]:
        """`tuner.resume_adapter` needs `tuner.train_type: lora`."""
        if self.tuner.resume_adapter is not None and self.tuner.train_type != "lora":
            key = "tuner.resume_adapter"
            message = "an adapter needs tuner.train_type: lora"
            yield BrokenRule(key, message, (key, "tuner.train_type"))

    def _something_learns(self) -> Iterator[BrokenRule]:
        """One tower learns, or the coord offsets do."""
        towers = ("tuner.freeze_vit", "tuner.freeze_aligner", "tuner.freeze_llm")
        frozen = self.tuner.freeze_vit and self.tuner.freeze_aligner and self.tuner.freeze_llm
        if frozen and not self.custom.coord_offset.enabled:
            message = "every tower is frozen and there are no coord offsets: nothing learns"
            yield BrokenRule("tuner", message, (*towers, _OFFSET))

    rules: ClassVar[tuple[Callable[["Config"], Iterator[BrokenRule]], ...]] = (
        _host_is_available,
        _coord_tokens_need_the_coord_loss,
        _the_coord_loss_needs_coord_tokens,
        _coord_offset_needs_coord_tokens,
        _coord_offset_needs_its_optimizer,
        _coord_offset_needs_an_adapter,
        _coord_offset_ids_cover_the_bins,
        _evaluation_needs_records,
        _a_resumed_adapter_needs_lora,
        _something_learns,
    )
