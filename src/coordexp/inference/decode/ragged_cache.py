"""A key-value cache whose rows grow at their own pace.

Every row begins at column 0 and has an end of its own. A forward pass writes its columns from each
row's end on; what a shorter row writes beyond its own tokens, and what was appended as a guess and
turned out wrong, lies behind the row's end and is written over before anything can see it::

    row 0   p p p p p p a b c d . .
    row 1   p p p a b x x . . . . .       x: a wrong guess, not kept
    row 2   p p p p p a . . . . . .

So nothing is padded between tokens, nothing is copied when a guess fails, and the cache is as long
as the longest row. Hugging Face's caches append the same columns to every row.

A recurrent layer has no columns to write over. It reads a row from one choice to the next and keeps
the state at each; the row goes on from the one that it came to (`recurrent_states`).

Shapes: `B` rows, `H` heads, `Q` columns of one pass, `L` columns so far, `D` width of a head.
"""

from collections.abc import Collection, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin, LinearAttentionCacheLayerMixin
from typing_extensions import override

from coordexp.families.recurrent_layers import Read, StatesByRow
from coordexp.inference.decode.recurrent_states import RecurrentStates

AnyLayer = CacheLayerMixin | LinearAttentionCacheLayerMixin

_SPARE_COLUMNS = 256


class CacheColumns:
    """Where the next pass writes; shared by all layers.

    Args:
        places: The column of each token of the first pass, 0, 1, ... in every row.
        stops: As for `move`.
    """

    def __init__(self, places: Int[Tensor, "B Q"], *, stops: Sequence[Sequence[int]]) -> None:
        self.starts = [0] * len(stops)
        self.move(places, stop=places.shape[1], starts=self.starts, stops=stops)

    def move(
        self,
        places: Int[Tensor, "B Q"],
        *,
        stop: int,
        starts: Sequence[int],
        stops: Sequence[Sequence[int]],
    ) -> None:
        """Set what the next pass writes.

        Args:
            places: The column of each of its tokens.
            stop: Where the last of them ends.
            starts: The column of each row's first token.
            stops: How many of its tokens each row may keep: as many as there are up to a choice.
                The last is all of them; a row without any is done.
        """
        self.places = places
        self.stop = stop
        self.rows = torch.arange(len(places), device=places.device)[:, None]
        self.kept = [new - old for new, old in zip(starts, self.starts, strict=True)]
        self.starts = list(starts)
        self.stops = [tuple(each) for each in stops]

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        self.starts = [self.starts[row] for row in rows]


class RaggedLayer(CacheLayerMixin):
    """The keys and values of one layer, `[B, L, H, D]`."""

    is_sliding = False

    def __init__(self, columns: CacheColumns) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # theirs is untyped
        self._columns = columns

    @override
    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = self._room_for(key_states)
        self.values = self._room_for(value_states)
        self.is_initialized = True

    def _room_for(self, states: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B L H D"]:
        batch, heads, _, width = states.shape
        return states.new_zeros(batch, self._columns.stop + _SPARE_COLUMNS, heads, width)

    @override
    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write the pass's columns and return all of them, `[B, H, L, D]`."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._written(self.keys, key_states)
        self.values = self._written(self.values, value_states)
        stop = self._columns.stop
        return self.keys[:, :stop].transpose(1, 2), self.values[:, :stop].transpose(1, 2)

    def _written(self, stored: Tensor | None, states: Float[Tensor, "B H Q D"]) -> Tensor:
        assert stored is not None
        columns = self._columns
        if columns.stop > stored.shape[1]:
            grown = self._room_for(states)
            grown[:, : stored.shape[1]] = stored
            stored = grown
        stored[columns.rows, columns.places] = states.transpose(1, 2)
        return stored

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        if self.keys is not None and self.values is not None:
            index = torch.tensor(rows, device=self.keys.device)
            self.keys, self.values = self.keys[index], self.values[index]

    @override
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._columns.stop, 0

    @override
    def get_seq_length(self) -> int:
        return self._columns.stop - self._columns.places.shape[1]

    @override
    def get_max_length(self) -> int:
        return -1


class RaggedCache(Cache, StatesByRow):
    """The cache of all layers.

    Args:
        num_layers: Of the language model.
        recurrent: The numbers of those that have states.
        places: As for `CacheColumns`.
        stops: As for `CacheColumns`.
    """

    def __init__(
        self,
        num_layers: int,
        recurrent: Collection[int],
        places: Int[Tensor, "B Q"],
        *,
        stops: Sequence[Sequence[int]],
    ) -> None:
        self.columns = CacheColumns(places, stops=stops)
        self._ragged = [
            RecurrentStates(number) if number in recurrent else RaggedLayer(self.columns)
            for number in range(num_layers)
        ]
        # What transformers asks of a layer of states is asked of `read` here.
        super().__init__(layers=cast(list[AnyLayer], self._ragged))

    @override
    def read(
        self, layer: int, read: Read, hidden_states: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q D"]:
        states = self._ragged[layer]
        assert isinstance(states, RecurrentStates)
        return states.read(read, hidden_states, kept=self.columns.kept, stops=self.columns.stops)

    def mask(self) -> Tensor:
        """Return what each token of the coming pass may see, `[B, 1, Q, L]`."""
        seen = torch.arange(self.columns.stop, device=self.columns.places.device)
        return (seen <= self.columns.places[:, :, None])[:, None]

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these."""
        self.columns.keep(rows)
        for layer in self._ragged:
            layer.keep(rows)
