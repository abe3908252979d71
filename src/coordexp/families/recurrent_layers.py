"""Layers that read one token after another into a state, such as gated linear attention.

Attention looks back at tokens that lie apart in a cache, and a mask says which of them it may see.
A state is the sum of all that was read, and no mask takes anything out of it again. So whoever puts
other examples into the same row, or guesses what comes next, has to say it to these layers:

- **Packs.** Each example of a pack is read from an empty state, by the layer's own code, as if it
  were alone. The borders are those that attention goes by: the text row of four-row `position_ids`,
  where there is neither a mask nor a cache.
- **Answers in the making.** A cache that is `StatesByRow` is asked to do the reading: it knows how
  far each row goes, and keeps the states to which a row may have to come back.

transformers passes `cu_seq_lens_q` and `seq_idx` on to the kernels of flash-linear-attention and
causal-conv1d. They are not used here: where one of these packages is missing, the stand-in written
in torch takes neither and says nothing, and every example is then read on top of the one before it.
Reading them one by one is exact everywhere and costs some more launches of the same kernels.

The layers are given a subclass of their own class, in place: a wrapper that held them would change
the names of their parameters, and with them LoRA's targets and every saved file.

Shapes: `B` rows, `T` tokens, `D` width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from typing_extensions import override

from coordexp.errors import CheckpointError

Read = Callable[..., Tensor]
"""A layer's own forward pass: hidden states, and `cache_params` with the state to start from."""

_LENGTHS = "example_lengths"
_LOOK_BACK = ("full_attention", "sliding_attention")
_FOUR_ROWS = 4  # text, then temporal, height and width


class StatesByRow(ABC):
    """A cache whose rows have states of their own, which it starts from and keeps."""

    @abstractmethod
    def read(
        self, layer: int, read: Read, hidden_states: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        """Return what a layer makes of the coming tokens of every row.

        Args:
            layer: Its number.
            read: Its own forward pass.
            hidden_states: Of the tokens.
        """


class ReadsApart(nn.Module):
    """A recurrent layer that does not carry one example's state into another."""

    layer_idx: int

    @override
    def forward(
        self,
        hidden_states: Float[Tensor, "B T D"],
        cache_params: object = None,
        attention_mask: Tensor | None = None,
        example_lengths: Sequence[int] | None = None,
        **others: object,
    ) -> Float[Tensor, "B T D"]:
        """Return what the layer makes of each example alone."""
        read: Read = super().forward
        if isinstance(cache_params, StatesByRow):
            return cache_params.read(self.layer_idx, read, hidden_states)
        if example_lengths is None:
            return read(hidden_states, cache_params, attention_mask, **others)
        pieces = hidden_states.split(list(example_lengths), dim=1)
        return torch.cat([read(piece, **others) for piece in pieces], dim=1)


class SaysLengths(nn.Module):
    """A language model that tells its recurrent layers where each example of a pack ends."""

    config: PreTrainedConfig

    @override
    def forward(self, *inputs: object, **named: object) -> object:
        """Return what the model makes of the row."""
        positions, asked = named.get("position_ids"), named.get("use_cache")
        is_cached = self.config.use_cache if asked is None else asked
        if (
            isinstance(positions, Tensor)
            and named.get("attention_mask") is None
            and named.get("past_key_values") is None
            and not is_cached
            and (lengths := example_lengths(positions)) is not None
        ):
            named = {**named, _LENGTHS: lengths}
        return super().forward(*inputs, **named)


def example_lengths(position_ids: Int[Tensor, "..."]) -> list[int] | None:
    """Return the tokens of each example of a pack; None where nothing says that it is one.

    Args:
        position_ids: A pack has four rows, the first of which starts anew with every example.

    Raises:
        ValueError: If several rows have packs in them.

    Example:
        >>> text = torch.tensor([0, 1, 2, 0, 1])
        >>> example_lengths(text.expand(4, 1, -1))
        [3, 2]
    """
    if position_ids.ndim != 3 or position_ids.shape[0] != _FOUR_ROWS:  # noqa: PLR2004 - rows, B, T
        return None
    text = position_ids[0]
    breaks = text.diff(dim=-1) != 1
    if not bool(breaks.any()):
        return None
    if len(text) > 1:
        raise ValueError(
            f"expected one row with all examples of a pack, got {len(text)}: a recurrent layer "
            "reads the examples of one row after another"
        )
    ends = [*(breaks[0].nonzero()[:, 0] + 1).tolist(), text.shape[1]]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def install_recurrent_layers(model: PreTrainedModel, names: Collection[str]) -> None:
    """Let the recurrent layers of a model keep examples apart.

    Args:
        model: As transformers builds it.
        names: Own names of these layers, as the family says them; none where it has none.

    Raises:
        CheckpointError: If the model has others that the family does not name.
    """
    layers = [module for name, module in model.named_modules() if name.rpartition(".")[2] in names]
    kinds = {kind: _with(ReadsApart, kind) for kind in {type(layer) for layer in layers}}
    for layer in layers:
        layer.__class__ = kinds[type(layer)]
    if layers:
        decoder = model.get_decoder()
        decoder.__class__ = _with(SaysLengths, type(decoder))
    check_recurrent_layers(model)


def check_recurrent_layers(model: PreTrainedModel) -> None:
    """Check that every layer of a model that does not look back keeps examples apart.

    Raises:
        CheckpointError: If there are others: examples of a pack would run into one another there,
            in silence.
    """
    kinds = model.config.get_text_config().to_dict().get("layer_types") or ()
    stateful = [kind for kind in kinds if kind not in _LOOK_BACK]
    if left := len(stateful) - len(recurrent_layers(model)):
        raise CheckpointError(
            f"the model has {left} layers of {stateful[0]} in which nothing would keep examples of "
            "a pack or guesses apart; open it with coordexp.model.load.load_base, and name the "
            "layers in its family's `recurrent` where that does not help"
        )


def recurrent_layers(model: nn.Module) -> set[int]:
    """Return the numbers of a model's recurrent layers, once they are installed."""
    return {module.layer_idx for module in model.modules() if isinstance(module, ReadsApart)}


def _with(ours: type[nn.Module], theirs: type[nn.Module]) -> type[nn.Module]:
    """Return a class that does what ours does to theirs; a class that does already is kept."""
    if issubclass(theirs, ours):
        return theirs
    return type(theirs.__name__, (ours, theirs), {"__module__": theirs.__module__})
