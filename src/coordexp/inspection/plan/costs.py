"""What a run costs, before its base is downloaded.

::

    weights, gradients, AdamW   counted on the run's own model, as shapes
    activations and loss        counted in a forward and a backward pass, as shapes
    packs that fit              a parabola through three counted packs: attention's masks grow with
                                the square of a pack, everything else with its length
    time                        counted operations over the GPU's peak, times a share of it

A GPU holds a model of its own (data parallelism): memory does not shrink with more of them. FSDP
and DeepSpeed are not covered. Nor are CUDA's context, the scratch space of kernels and the
allocator's gaps; a tenth of the memory is left for them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from coordexp.config.schema import Config
from coordexp.families.known import load_family
from coordexp.families.picture_grid import smart_resize
from coordexp.inspection.plan.hollow_model import HollowModel, build_hollow
from coordexp.inspection.plan.one_pass import ExampleShape, PassCost, count_pass
from coordexp.model.four_bit import four_bit_bytes

Known = Literal["counted", "estimated"]

# Share of a device that is planned with; the rest is for what cannot be counted.
COMFORTABLE = 0.9
# Where no record is looked at: pictures as large as the README has them prepared, short answers.
PICTURE_PX = 1024
PROMPT_TOKENS, ANSWER_TOKENS = 64, 192
# Of a GPU's peak that training runs of this kind come to; nobody has measured ours yet.
SHARE_OF_PEAK = 0.3
# Contexts end there; a larger pack says nothing.
_NEVER_MORE = 1 << 18
# What packs are counted at, as parts of the run's own.
_PARTS = (4, 2, 1)
# Dense products in half precision, from the makers' data sheets, in 10^12 operations a second.
PEAKS = {
    "A100": 312.0,
    "H100": 989.0,
    "H200": 989.0,
    "L40S": 362.0,
    "RTX4090": 165.0,
}
# Weights and AdamW's two numbers for each that learns.
NUMBERS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """One figure of a plan.

    Args:
        name: What for.
        size: In bytes.
        known: How.
        remark: In a few words.
    """

    name: str
    size: float
    known: Known
    remark: str = ""


@dataclass(frozen=True, slots=True)
class PackLimit:
    """The largest pack that a GPU takes.

    Args:
        checkpointing: With recomputed activations or not.
        tokens: Of that pack; 0 where not even an example fits.
        counted: Packs in tokens and their peak in bytes, from which it follows.
    """

    checkpointing: bool
    tokens: int
    counted: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CostPlan:
    """Everything that is known of a run's costs.

    Args:
        parameters: Of the base, adapters included.
        learning: Of these, what learns.
        memory: Of one GPU, part by part.
        disk: What is written.
        tokens: Of the run's pack.
        example: What packs are made of.
        own: The pass over the run's own pack.
        limits: Packs that fit, without and with checkpointing; none where no memory was named.
        flash: Whether attention takes each example alone.
        checkpointing: As the run has it.
        gpus: How many share a step.
        room: Bytes of one GPU; None where it was not named.
        packs_per_step: In an optimizer step.
    """

    parameters: int
    learning: int
    memory: tuple[Cost, ...]
    disk: tuple[Cost, ...]
    tokens: int
    example: ExampleShape
    own: PassCost
    limits: tuple[PackLimit, ...]
    flash: bool
    checkpointing: bool
    gpus: int
    room: float | None
    packs_per_step: int

    @property
    def total(self) -> float:
        """Bytes of one GPU in all."""
        return sum(cost.size for cost in self.memory)

    def seconds(self, packs: int, *, peak: float, share: float) -> float:
        """Return how long so many packs take.

        Args:
            packs: Of all GPUs together.
            peak: Operations a second of one GPU.
            share: Of the peak that is reached.
        """
        return math.ceil(packs / self.gpus) * self.own.flops / (peak * share)


def plan_costs(
    config: Config,
    *,
    gpus: int,
    room: float | None,
    on_cpu: bool = False,
    example: ExampleShape | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> CostPlan:
    """Return what a run costs; of its base `config.json` is enough.

    Args:
        config: Of the run.
        gpus: How many GPUs share an optimizer step.
        room: Bytes of one GPU, for the packs that fit; None leaves these out.
        on_cpu: Whether the run computes on a CPU.
        example: What packs are made of; None takes a picture as large as the run allows, at most
            1024 by 1024 pixels, 64 tokens of prompt and 192 of answer.
        say: Takes what is being counted.

    Raises:
        CheckpointError: If `config.json` does not tell enough.
        ConfigError: If so many GPUs cannot share the run's batch.
    """
    packs = config.training.accumulation_steps(world_size=gpus) * gpus
    example = example or assumed_example(config)
    flash = config.model.attn_implementation == "flash_attention_2"
    say("the model")
    hollow = build_hollow(config, flash=flash)
    tokens = max(batch_tokens(config, example), len(example))
    kept = config.training.gradient_checkpointing

    def count(tokens: int, *, checkpointing: bool) -> PassCost:
        say(f"a pass of {tokens:,} tokens, checkpointing {'on' if checkpointing else 'off'}")
        return count_pass(
            hollow, config, example, tokens=tokens, checkpointing=checkpointing, on_cpu=on_cpu
        )

    own = count(tokens, checkpointing=kept)
    fixed = fixed_costs(hollow, gpus=gpus)
    memory = (*fixed, Cost("activations and loss", own.peak, "counted", f"{tokens:,} tokens"))
    limits: list[PackLimit] = []
    for checkpointing in (False, True) if room is not None else ():
        lengths = sorted({max(tokens // part, len(example)) for part in _PARTS})
        passes = [
            own
            if (length, checkpointing) == (tokens, kept)
            else count(length, checkpointing=checkpointing)
            for length in lengths
        ]
        free = COMFORTABLE * (room or 0) - sum(cost.size for cost in fixed)
        points = tuple((each.tokens, each.peak) for each in passes)
        limits.append(PackLimit(checkpointing, largest_pack(points, free, len(example)), points))
    return CostPlan(
        parameters=sum(one.numel() for one in hollow.model.parameters()),
        learning=sum(one.numel() for one in hollow.learning),
        memory=memory,
        disk=disk_costs(hollow, config),
        tokens=tokens,
        example=example,
        own=own,
        limits=tuple(limits),
        flash=flash,
        checkpointing=kept,
        gpus=gpus,
        room=room,
        packs_per_step=packs,
    )


def assumed_example(config: Config) -> ExampleShape:
    """Return an example with the largest picture that the run allows, up to 1024 x 1024 pixels."""
    grid = load_family(config.model.path).grid
    side = min(PICTURE_PX, math.isqrt(config.data.max_pixels or PICTURE_PX**2))
    wide, high = smart_resize(side, side, grid)
    cell = grid.cell_px
    return ExampleShape(high // cell, wide // cell, PROMPT_TOKENS, ANSWER_TOKENS)


def batch_tokens(config: Config, example: ExampleShape) -> int:
    """Return the tokens of a pack, or of a padded batch of such examples."""
    training = config.training
    if training.packing and training.global_max_length is not None:
        return training.global_max_length
    return len(example) * training.per_device_train_batch_size


def fixed_costs(hollow: HollowModel, *, gpus: int) -> tuple[Cost, ...]:
    """Return what a GPU holds whatever the batch."""
    tensors = [*hollow.model.parameters(), *hollow.model.buffers()]
    weights = sum(one.numel() * one.element_size() for one in tensors)
    largest = max((one.numel() for one in hollow.four_bits), default=0) * hollow.dtype.itemsize
    quantised = sum(one.numel() for one in hollow.four_bits)
    weights -= quantised * hollow.dtype.itemsize
    learning = sum(one.numel() * one.element_size() for one in hollow.learning)
    count = sum(one.numel() for one in hollow.learning)
    kind = str(hollow.dtype).removeprefix("torch.")
    if quantised:
        kind += f", {quantised:,} numbers of it in four bits"
    costs = [
        Cost("weights", weights + four_bit_bytes(quantised), "counted", f"base in {kind}"),
        Cost("gradients", learning, "counted", f"of {count:,} numbers that learn"),
        Cost("AdamW", 2 * learning, "counted", "two numbers for each that learns"),
    ]
    if largest:
        costs.append(Cost("a layer's weights", largest, "counted", "taken out of four bits"))
    if gpus > 1:
        costs.append(Cost("gradients on their way", learning, "counted", "buckets of DDP"))
    return tuple(costs)


def disk_costs(hollow: HollowModel, config: Config) -> tuple[Cost, ...]:
    """Return what the run writes."""
    learning = sum(one.numel() * one.element_size() for one in hollow.learning)
    merged = sum(one.numel() for one in hollow.base.parameters()) - sum(
        one.numel() for name, one in hollow.base.named_parameters() if "lora_" in name
    )
    block = config.training
    kept = 1 if block.save_strategy == "no" else block.save_total_limit
    one = NUMBERS_KEPT * learning
    words = "one and the one being written" if kept in (None, 1) else f"{kept} and one more"
    if kept is None:
        words += "; all are kept: as many as are saved"
    return (
        Cost("a checkpoint", one, "counted", "what learns, with AdamW's numbers"),
        Cost("checkpoints", one * ((kept or 1) + 1), "counted", words),
        Cost("merged model", merged * hollow.dtype.itemsize, "counted", "in the base's dtype"),
    )


def largest_pack(counted: tuple[tuple[int, int], ...], free: float, step: int) -> int:
    """Return the tokens of the largest pack whose peak, by a parabola through three, fits.

    Two packs give a line, and one a line through nothing.

    Args:
        counted: Tokens and bytes, tokens ascending.
        free: Bytes.
        step: What the answer is rounded down to a multiple of.

    Example:
        >>> largest_pack(((100, 1000), (200, 2000), (400, 4000)), 10_050.0, 100)
        1000
    """
    low, high = 0, counted[-1][0]
    while parabola(counted, high) <= free and high < _NEVER_MORE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parabola(counted, middle) <= free else (low, middle)
    return low // step * step


def parabola(points: tuple[tuple[int, int], ...], at: float) -> float:
    """Return what a curve through all points says elsewhere (Lagrange)."""
    if len(points) == 1:
        return points[0][1] / points[0][0] * at
    return sum(
        value * math.prod((at - other) / (x - other) for other, _ in points if other != x)
        for x, value in points
    )
