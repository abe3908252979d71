"""Examples in one row, none of which sees another.

Three conditions make that exact, and each of them alone is not enough (transformers looks for packs
only when all hold; `tests/rendering/test_packing.py` drops them one by one):

- four-row `position_ids`, the text row first: it starts at 0 with each example, which is how
  transformers finds the borders. The three mRoPE rows below are those that each example has alone;
- no `attention_mask`;
- no cache of keys and values: `use_cache` off at the top level and in the language model's
  configuration, or in the call.

::

    example          a a a a b b b
    text row         0 1 2 3 0 1 2
    mRoPE rows       as a alone, then as b alone

Flash attention reads the borders as `cu_seqlens` and computes each example alone. SDPA gets one
boolean `T x T` mask for all layers, T^2 bytes, and computes the masked blocks too.

Shapes: `T` tokens of all examples.
"""

from collections.abc import Sequence

import torch

from coordexp.families.inputs import ModelInputs
from coordexp.rendering.collate import TOKEN_TYPES, Batch, typed, with_a_picture
from coordexp.rendering.encode import IGNORE_INDEX, Example


class PackCollator:
    """Lays the examples of one pack into one row.

    Args:
        inputs: Of the model: what keeps the examples apart.
        image_token_id: Marks the image placeholders in `mm_token_type_ids`.
        blank: Joins a pack without pictures; `coordexp.rendering.collate.blank_example`.
    """

    def __init__(self, *, inputs: ModelInputs, image_token_id: int, blank: Example) -> None:
        self.inputs = inputs
        self.image_token_id = image_token_id
        self.blank = blank

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """Return `input_ids`, `labels`, four-row `position_ids` and the patches.

        Token types join them where an example has any.

        Raises:
            ValueError: If the first token of an example is a target: what comes before it in the
                row is another example.
        """
        packed = with_a_picture(examples, self.blank)
        labels = torch.cat([example.labels for example in packed])
        if any(example.labels[0] != IGNORE_INDEX for example in packed):
            raise ValueError("the first token of an example must not be a target")
        input_ids = torch.cat([example.input_ids for example in packed])[None]
        types = typed(packed)
        return {
            **({TOKEN_TYPES: torch.cat(types)[None]} if types else {}),
            "input_ids": input_ids,
            "labels": labels[None],
            **self.inputs.pack([example.position_ids for example in packed]),
            "mm_token_type_ids": (input_ids == self.image_token_id).int(),
            "pixel_values": torch.cat([example.pixel_values for example in packed]),
            "image_grid_thw": torch.cat([example.image_grid_thw for example in packed]),
        }
