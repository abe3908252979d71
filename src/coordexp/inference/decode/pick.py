"""What is said where the grammar leaves a choice: the likeliest, or by chance.

Shapes: `N` choices, `M` options.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Pick = Callable[[Float[Tensor, "N M"]], Int[Tensor, " N"]]
"""From logits, minus infinity where something is not allowed, to the place of one option a row."""


def likeliest(logits: Float[Tensor, "N M"]) -> Int[Tensor, " N"]:
    """Return the likeliest option of each choice."""
    return logits.argmax(-1)


def by_chance(temperature: float) -> Pick:
    """Return what draws from the distribution over the options, with torch's own random numbers.

    Args:
        temperature: The logits are divided by it.
    """

    def pick(logits: Float[Tensor, "N M"]) -> Int[Tensor, " N"]:
        return torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0]

    return pick
