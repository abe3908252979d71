"""The states of a recurrent layer while answers grow, row by row.

A row is read in pieces that end where the answer may have to be taken up again: behind each choice
that was guessed, and behind the last token. The state at each of these ends is kept until the next
pass, which starts from the one that the row has come to. So a wrong guess costs nothing but the
reading, as with a cache of keys and values, and nothing is read twice::

    pass n     " object_2 ": { "desc ": "        guessed: one more object; the end was the answer
               ^                        ^
    pass n+1   starts from the first state and reads what was chosen instead

Each piece is read by the layer itself, from a state of one of transformers' own caches. Rows whose
pieces are equally long are read together; the others cost a launch each. Per row and layer a few
states are held: width of a key times width of a value for each head, in float32.

Shapes: `B` rows, `G` rows read together, `Q` columns of a pass, `D` width.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import LinearAttentionLayer

from coordexp.families.recurrent_layers import Read


@dataclass(frozen=True, slots=True)
class RecurrentState:
    """What a layer knows of the tokens before.

    Args:
        convolution: Its inputs at the last few of them.
        recurrence: What was made of all of them.
    """

    convolution: Tensor
    recurrence: Tensor


class RecurrentStates:
    """The states of one layer.

    Args:
        number: Of the layer in its model.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        # For each row, by how many tokens of the last pass had been read; none before the first.
        self._reached: list[dict[int, RecurrentState]] = []

    def read(
        self,
        read: Read,
        hidden_states: Float[Tensor, "B Q D"],
        *,
        kept: Sequence[int],
        stops: Sequence[tuple[int, ...]],
    ) -> Float[Tensor, "B Q D"]:
        """Return what the layer makes of the rows; zeros behind a row's end.

        Args:
            read: The layer's forward pass.
            hidden_states: Of a pass.
            kept: How many tokens of the pass before each row has kept.
            stops: How many of this pass's it may keep; none where a row is done.
        """
        starts, self._reached = self._reached, [{} for _ in stops]
        alike: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, ends in enumerate(stops):
            if ends:
                alike[ends].append(row)
        output = torch.zeros_like(hidden_states)
        for ends, rows in alike.items():
            states = [starts[row][kept[row]] for row in rows] if starts else []
            layer = _holding(states)
            cache = Cache(layers=[layer] * (self._number + 1))  # it looks for its own number
            for begin, end in zip((0, *ends), ends, strict=False):
                output[rows, begin:end] = read(hidden_states[rows, begin:end], cache)
                for row, state in zip(rows, _held(layer), strict=True):
                    self._reached[row][end] = state
        return output

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        self._reached = [self._reached[row] for row in rows]


def _holding(states: Sequence[RecurrentState]) -> LinearAttentionLayer:
    """Return a cache's layer that goes on from some rows' states, a fresh one without any."""
    layer = LinearAttentionLayer()
    if states:
        convolution = torch.stack([state.convolution for state in states])
        recurrence = torch.stack([state.recurrence for state in states])
        layer.lazy_initialization(convolution, recurrence)
        layer.update_conv_state(convolution)
        layer.update_recurrent_state(recurrence)
    return layer


def _held(layer: LinearAttentionLayer) -> list[RecurrentState]:
    """Return a copy of each row's state: the layer writes over its own."""
    convolution, recurrence = layer.conv_states[0], layer.recurrent_states[0]
    assert convolution is not None
    assert recurrence is not None
    return [
        RecurrentState(*state)
        for state in zip(convolution.clone(), recurrence.clone(), strict=True)
    ]
