r"""The coord-offset adapter: train the coord rows of a frozen vocabulary and nothing else of it.

Shapes: `T` tokens, `D` width, `V` vocabulary, `K` bins.

Two wrapper modules share one small table of learned rows::

    ids ──> OffsetEmbedding.base ──(+ rows[ids])──> ... ──> hidden
                    frozen        coord_offset_adapter

    hidden ──> OffsetHead.base ──(+ hidden @ rows^T)──> logits
                    frozen         on coord ids only

which is the same as adding the rows to the tied table itself. With `tie_head=False` the head has a
table of its own. Zero rows change nothing, bit for bit. No hooks: what is called is what is there,
so PEFT, DDP and checkpoints see ordinary modules. The attribute that holds the wrapped module is
`base`, because PEFT takes `base_layer` for one of its own layers when it merges.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import override

from coordexp.errors import CheckpointError

ADAPTER_NAME = "coord_offset_adapter"


class OffsetTable(nn.Module):
    """One learned row for each coord id.

    It is called, never read, so that it can be a sharding unit of its own.

    Args:
        num_bins: K.
        width: D.
        dtype: fp32 unless asked otherwise: AdamW's steps vanish in a bf16 table.
        device: Where the frozen table lives.
    """

    def __init__(
        self, num_bins: int, width: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(num_bins, width, dtype=dtype, device=device))

    @override
    def forward(self, bins: Int[Tensor, "*B"] | None = None) -> Float[Tensor, "..."]:
        """Return the rows of some bins; a zero row for -1; every row when no bins are given."""
        if bins is None:
            every: Tensor = self.rows.clone()
            return every
        rows: Tensor = nn.functional.embedding(bins.clamp_min(0), self.rows)
        chosen: Tensor = rows * (bins >= 0).unsqueeze(-1)
        return chosen


class OffsetEmbedding(nn.Module):
    """An embedding whose coord ids have a learned row added.

    Args:
        base: The frozen embedding.
        table: The learned rows.
        first_id: The id of bin 0.
        num_bins: K.
    """

    def __init__(
        self, base: nn.Embedding, table: OffsetTable, *, first_id: int, num_bins: int
    ) -> None:
        super().__init__()
        self.base = base
        self.coord_offset_adapter = table
        self.first_id = first_id
        self.num_bins = num_bins

    @property
    def weight(self) -> Tensor:
        """The frozen rows, without the offsets."""
        return self.base.weight

    @override
    def forward(self, input_ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        rows: Tensor = self.base(input_ids)
        bins = input_ids - self.first_id
        inside = (bins >= 0) & (bins < self.num_bins)
        offsets: Tensor = self.coord_offset_adapter(torch.where(inside, bins, -1))
        return rows + offsets.to(rows.dtype)


class OffsetHead(nn.Module):
    """An output head whose coord ids have a learned row added.

    Args:
        base: The frozen head.
        table: Its own table, or None to use the embedding's.
        embedding: Owner of the shared table. It is kept in a list, so that it is neither a child of
            the head nor saved twice, and so that the table is found through it after PEFT has
            wrapped it in place.
        first_id: The id of bin 0.
        num_bins: K.

    While `emits_hidden` is set it passes hidden states through; see `coordexp.model.hidden_head`.
    """

    emits_hidden = False

    def __init__(
        self,
        base: nn.Linear,
        table: OffsetTable | None,
        embedding: OffsetEmbedding,
        *,
        first_id: int,
        num_bins: int,
    ) -> None:
        super().__init__()
        self.base = base
        if table is not None:
            self.coord_offset_adapter = table
        self._embedding = [embedding]
        self.first_id = first_id
        self.num_bins = num_bins

    @property
    def weight(self) -> Tensor:
        """The frozen rows, without the offsets."""
        return self.base.weight

    @property
    def embedding(self) -> OffsetEmbedding:
        """The embedding that was wrapped together with this head."""
        return self._embedding[0]

    @property
    def is_tied(self) -> bool:
        """Whether the embedding's table serves the head too."""
        return not hasattr(self, ADAPTER_NAME)

    def offsets(self) -> Float[Tensor, "K D"]:
        """Return the learned rows that the head adds."""
        owner = self.embedding if self.is_tied else self
        rows: Tensor = owner.coord_offset_adapter()
        return rows

    @override
    def forward(self, hidden: Float[Tensor, "*B D"]) -> Float[Tensor, "*B _"]:
        if self.emits_hidden:
            return hidden
        logits: Tensor = self.base(hidden)
        shift = hidden @ self.offsets().to(hidden.dtype).T
        if torch.compiler.is_compiling():  # which removes the copy by itself
            logits.narrow(-1, self.first_id, self.num_bins).add_(shift)
            return logits
        shifted: Tensor = _AddInPlace.apply(logits, shift, self.first_id)  # type: ignore[no-untyped-call]
        return shifted


class _AddInPlace(torch.autograd.Function):
    """Adds to some columns of the logits; torch's own way back would copy the whole gradient."""

    @staticmethod
    @override
    def forward(ctx: Any, logits: Tensor, shift: Tensor, first_id: int) -> Tensor:
        ctx.mark_dirty(logits)
        ctx.columns = (first_id, shift.shape[-1])
        logits.narrow(-1, *ctx.columns).add_(shift)
        return logits

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, gradient.narrow(-1, *ctx.columns), None


def install_coord_offset_adapter(
    model: PreTrainedModel,
    *,
    coord_ids: Sequence[int],
    tie_head: bool = True,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Freeze the vocabulary of a model and give its coord ids trainable offsets, all zero.

    Args:
        model: Changed in place.
        coord_ids: Contiguous, in bin order; see `coordexp.coord_tokens.vocab.CoordVocab`.
        tie_head: One table for embedding and head, or one for each. The default is the
            configuration's; the specification calls this function with a model and ids alone.
        dtype: Of the tables.

    Raises:
        CheckpointError: If the ids do not fit the model, or the adapter is there already.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, OffsetEmbedding):
        raise CheckpointError("the coord-offset adapter is installed already")
    if not isinstance(embedding, nn.Embedding) or not isinstance(head, nn.Linear):
        raise CheckpointError(
            "the coord-offset adapter needs a plain embedding and head, got "
            f"{type(embedding).__name__} and {type(head).__name__}"
        )
    first_id, num_bins = _checked_range(coord_ids, embedding.num_embeddings)
    tied = head.weight is embedding.weight
    embedding.weight.requires_grad = False
    head.weight.requires_grad = False

    def table() -> OffsetTable:
        device = embedding.weight.device
        return OffsetTable(num_bins, embedding.embedding_dim, dtype=dtype, device=device)

    wrapped = OffsetEmbedding(embedding, table(), first_id=first_id, num_bins=num_bins)
    model.set_input_embeddings(wrapped)
    model.set_output_embeddings(
        OffsetHead(
            head, None if tie_head else table(), wrapped, first_id=first_id, num_bins=num_bins
        )
    )
    if tied:
        _rename_tied_weights(model)
    _make_table_a_unit(model)


def reattach_coord_offset_hooks(model: nn.Module) -> None:
    """Check that the offset tables in use are the ones that learn.

    The name is the spec's. Nothing is hooked, so nothing needs reattaching after PEFT has wrapped
    the model; this raises where a wrapper has left a table out of the forward pass, or lets
    something else of the vocabulary learn.

    Raises:
        CheckpointError: If the model has no adapter, a trainable table is not the one in use,
            something learns and no table does, or another parameter of the embedding or the head is
            trainable. A model in which nothing learns is in order: it answers.
    """
    head = find_offset_head(model)
    if head is None:
        raise CheckpointError("the model has no coord-offset adapter")
    embedding = head.embedding
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if any(ADAPTER_NAME in name for name in learning):
        with torch.enable_grad():
            in_use = {"head": head.offsets(), "embedding": embedding.coord_offset_adapter()}
        if unused := [user for user, rows in in_use.items() if not rows.requires_grad]:
            raise CheckpointError(
                f"the trainable coord-offset table is not the one that the {unused[0]} uses"
            )
    elif learning:
        raise CheckpointError(
            f"{learning[0]} learns, and no coord-offset table does; PEFT freezes what is not named "
            f"in modules_to_save: ['{ADAPTER_NAME}']"
        )
    places = [name for name, module in model.named_modules() if module in (embedding, head)]
    if stray := [
        name
        for name in learning
        if ADAPTER_NAME not in name and name.startswith(tuple(f"{place}." for place in places))
    ]:
        raise CheckpointError(f"{stray[0]} is trainable; of the vocabulary only offsets may learn")


def find_offset_head(model: nn.Module) -> OffsetHead | None:
    """Return the model's offset head, None where the adapter is not installed."""
    return next((module for module in model.modules() if isinstance(module, OffsetHead)), None)


def _checked_range(coord_ids: Sequence[int], num_embeddings: int) -> tuple[int, int]:
    if not coord_ids:
        raise CheckpointError("expected the ids of the coord tokens, got none")
    first, count = coord_ids[0], len(coord_ids)
    if list(coord_ids) != list(range(first, first + count)):
        raise CheckpointError("coord ids must be contiguous and in bin order")
    if first < 0 or first + count > num_embeddings:
        raise CheckpointError(
            f"coord ids {first}..{first + count - 1} do not fit the model's {num_embeddings} "
            "vocabulary rows; expand the base with: coordexp vocab expand SRC DST"
        )
    return first, count


def _rename_tied_weights(model: PreTrainedModel) -> None:
    """Tell transformers the wrapped names of the tied tables; it ties and saves by name."""
    names = {module: name for name, module in model.named_modules()}
    embedding = names[model.get_input_embeddings()]
    head = names[model.get_output_embeddings()]
    model._tied_weights_keys = {f"{head}.base.weight": f"{embedding}.base.weight"}  # noqa: SLF001


def _make_table_a_unit(model: PreTrainedModel) -> None:
    """Have FSDP shard the table by itself: its rows are gathered whenever it is called."""
    units = model._no_split_modules or ()  # noqa: SLF001
    model._no_split_modules = [*units, OffsetTable.__name__]  # noqa: SLF001
