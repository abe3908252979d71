"""What a forward and a backward pass takes, counted on shapes.

The batch is a pack of examples that are all alike: a picture, a prompt and an answer; a pack's last
tokens, too few for another example, are text. `LiveBytes` sees every tensor come and go,
`HollowMath` every product.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, repeat

import torch
from torch import Tensor

from coordexp.config.schema import Config
from coordexp.inspection.plan.hollow_math import (
    HollowAutocast,
    HollowMath,
    autocast_on_shapes,
)
from coordexp.inspection.plan.hollow_model import HollowModel, computing_dtype
from coordexp.inspection.plan.live_bytes import LiveBytes
from coordexp.inspection.plan.loss_room import LossShape, LossStandIn
from coordexp.model.coord_offset import OffsetHead
from coordexp.model.hidden_head import emitting_hidden_states

_ANY_WORD = 0


@dataclass(frozen=True, slots=True)
class ExampleShape:
    """What an example is made of.

    Args:
        high: Cells of its picture from top to bottom; a cell is a token.
        wide: Cells from left to right.
        prompt: Tokens of text that are not learned.
        answer: Tokens that are.
    """

    high: int
    wide: int
    prompt: int
    answer: int

    def __len__(self) -> int:
        """Tokens in all."""
        return self.high * self.wide + self.prompt + self.answer


@dataclass(frozen=True, slots=True)
class PassCost:
    """What a pass takes.

    Args:
        tokens: Of the batch.
        examples: In it.
        peak: The most bytes that it held beside weights and accumulated gradients.
        flops: Operations in both directions, recomputation and the loss included.
        loss: What the loss alone is given.
    """

    tokens: int
    examples: int
    peak: int
    flops: int
    loss: LossShape

    @property
    def loss_bytes(self) -> int:
        """The loss's part of the peak, where the peak is in the loss."""
        return self.loss.kept + self.loss.passing


def count_pass(
    hollow: HollowModel,
    config: Config,
    example: ExampleShape,
    *,
    tokens: int,
    checkpointing: bool,
    on_cpu: bool,
) -> PassCost:
    """Return what a pass over a pack takes.

    Args:
        hollow: The model.
        config: Of the run.
        example: What packs are made of.
        tokens: Of the pack.
        checkpointing: Whether activations are recomputed in the backward pass.
        on_cpu: Whether the loss cuts its work for a CPU.
    """
    model = hollow.model
    model.zero_grad(set_to_none=True)
    half = computing_dtype(config)
    autocast = HollowAutocast(half or torch.float32)
    if checkpointing:
        # The backward pass runs outside the mode, and would recompute without it.
        again = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), autocast)}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=again)
    else:
        model.gradient_checkpointing_disable()
    count = tokens // len(example)
    learned = count * example.answer
    shape = loss_shape(hollow, config, rows=learned, half=half, on_cpu=on_cpu)
    inputs = _pack(hollow, example, count, tokens)
    shapes, before = HollowMath(), hollow.states.flops
    with shapes, LiveBytes(model) as memory, autocast, autocast_on_shapes():
        loss = _loss(hollow, inputs, shape)
        autocast.forget_casts()
        torch.autograd.backward(loss)
    model.zero_grad(set_to_none=True)
    flops = shapes.flops + shape.flops + hollow.states.flops - before
    return PassCost(tokens, count, memory.peak, flops, shape)


def loss_shape(
    hollow: HollowModel, config: Config, *, rows: int, half: torch.dtype | None, on_cpu: bool
) -> LossShape:
    """Return the problem that the loss has to solve.

    Args:
        hollow: The model.
        config: Of the run.
        rows: Supervised tokens.
        half: Dtype of mixed precision, if any.
        on_cpu: Whether the work is cut for a CPU.
    """
    vocabulary, width = hollow.head.weight.shape
    return LossShape(
        rows=rows,
        width=width,
        vocabulary=vocabulary,
        bins=hollow.bins,
        bytes_of_product=(half or hollow.dtype).itemsize,
        head_learns=hollow.head.weight.requires_grad,
        backend=config.training.objective_backend,
        on_cpu=on_cpu,
    )


def _loss(hollow: HollowModel, inputs: dict[str, Tensor], shape: LossShape) -> Tensor:
    head = hollow.head
    with emitting_hidden_states(head):
        hidden = hollow.model(**inputs).logits
    loss: Tensor = LossStandIn.apply(  # type: ignore[no-untyped-call]
        hidden, head.weight, shape
    )
    if isinstance(head, OffsetHead):  # its gradient comes from the loss as well
        loss = loss + head.offsets().sum()
    return loss


def _pack(hollow: HollowModel, example: ExampleShape, count: int, tokens: int) -> dict[str, Tensor]:
    """Return the inputs of a pack: whole numbers as they are, pixels as shapes."""
    config = hollow.base.config
    vision, picture = config.vision_config, example.high * example.wide
    rest = tokens - count * len(example)
    text = len(example) - picture
    one = [config.image_token_id] * picture + [_ANY_WORD] * text
    lengths = [len(example)] * count + ([rest] if rest else [])
    merge = vision.spatial_merge_size
    patches = count * picture * merge**2
    values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    places = torch.tensor([*chain.from_iterable(map(range, lengths))])
    ids = [*chain.from_iterable(repeat(one, count)), *repeat(_ANY_WORD, rest)]
    return {
        "input_ids": torch.tensor(ids)[None],
        "pixel_values": torch.empty((patches, values), device="meta"),
        "image_grid_thw": torch.tensor([[1, example.high * merge, example.wide * merge]] * count),
        "position_ids": places.expand(4, 1, -1),
    }
