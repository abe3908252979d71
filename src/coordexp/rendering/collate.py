"""Examples as one padded batch.

Shapes: `B` examples, `T` tokens of the longest one, `P` patches of all images, `C` values of a
patch, `I` images.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from coordexp.data.contract.record import Record
from coordexp.rendering.encode import IGNORE_INDEX, Encoder, Example
from coordexp.rendering.token_types import NO_TYPE

Batch = dict[str, Tensor]

# The key of a batch for what its tokens are, where the encoder says so; it never reaches the model.
TOKEN_TYPES = "token_types"


class Collator:
    """Pads examples to the longest one.

    Args:
        pad_id: Fills `input_ids`; masked out everywhere.
        image_token_id: Marks the image placeholders in `mm_token_type_ids`.
        side: `right` for training; `left` for generation, which goes on from the last column.
        blank: Joins a batch without pictures, so that every tower takes part in every step: chats
            of text alone, or no example at all, which a rank gets in training when the others have
            the last ones. See `blank_example`.
    """

    def __init__(
        self,
        *,
        pad_id: int,
        image_token_id: int,
        side: Literal["left", "right"],
        blank: Example | None = None,
    ) -> None:
        self.pad_id = pad_id
        self.image_token_id = image_token_id
        self.side = side
        self.blank = blank

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """Return `input_ids`, `labels`, `attention_mask`, `position_ids` and the patches.

        Token types join them where an example has any.

        `position_ids` are left out on the left side: generation needs the model to work out its
        own, and to remember them for the steps that follow.

        Raises:
            ValueError: If there is neither an example nor a blank one.
        """
        if self.blank is not None:
            examples = with_a_picture(examples, self.blank)
        elif not examples:
            raise ValueError("a batch without examples; give the collator a blank example")
        input_ids = self._padded([example.input_ids for example in examples], self.pad_id)
        ones = [torch.ones_like(example.input_ids) for example in examples]
        batch = {
            "input_ids": input_ids,
            "attention_mask": self._padded(ones, 0),
            "mm_token_type_ids": (input_ids == self.image_token_id).int(),
            "pixel_values": torch.cat([example.pixel_values for example in examples]),
            "image_grid_thw": torch.cat([example.image_grid_thw for example in examples]),
        }
        if self.side == "right":
            batch["labels"] = self._padded([example.labels for example in examples], IGNORE_INDEX)
            rows = [
                self._padded([example.position_ids[axis] for example in examples], 0)
                for axis in range(3)
            ]
            batch["position_ids"] = torch.stack(rows)
            if types := typed(examples):
                batch[TOKEN_TYPES] = self._padded(types, NO_TYPE)
        return batch

    def _padded(self, rows: Sequence[Int[Tensor, " _"]], value: int) -> Int[Tensor, "B T"]:
        return torch.nn.utils.rnn.pad_sequence(
            list(rows), batch_first=True, padding_value=value, padding_side=self.side
        )


def typed(examples: Sequence[Example]) -> list[Int[Tensor, " _"]]:
    """Return the token types of each example, none at all where no example has them."""
    if all(example.token_types is None for example in examples):
        return []
    return [
        torch.full_like(example.input_ids, NO_TYPE)
        if example.token_types is None
        else example.token_types
        for example in examples
    ]


def with_a_picture(examples: Sequence[Example], blank: Example) -> Sequence[Example]:
    """Return the examples, and the blank one behind them where none of them has a picture."""
    seen = any(len(example.image_grid_thw) for example in examples)
    return examples if seen else [*examples, blank]


def blank_example(encoder: Encoder) -> Example:
    """Return an example of a white picture and no answer, whose loss is zero.

    It passes through every tower, so that each parameter that learns gets its zero gradient and no
    rank waits for another.
    """
    side = encoder.inputs.grid.cell_px
    record = Record(images=("blank",), width=side, height=side, objects=())
    return encoder.encode_prompt(record, Image.new("RGB", (side, side), "white"))
