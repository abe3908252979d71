"""Running a real model on tensors that have shapes and no numbers (torch's meta device).

A model decides some of its shapes by values: which tokens are pictures, where an example of a pack
begins. `HollowMath` keeps whole numbers and masks on the CPU, where they are known, and lets
everything else be shapes. Attention and mixed precision need a device that can compute; here are
stand-ins that make and keep the tensors that the real ones do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from typing_extensions import override

_ATEN = torch.ops.aten
_FUSED = _ATEN._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - with derivative and shapes
_FUSED_BACKWARD = _ATEN._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001
_COPIED = _ATEN._to_copy.default  # noqa: SLF001
_GROUPED = _ATEN._grouped_mm.default  # noqa: SLF001 - what a mixture's experts are computed with
_BY_INDEX = (_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default)
# What autocast computes in half precision and a model of ours uses.
_PRODUCTS = (
    functional.linear,
    functional.conv3d,
    torch.matmul,
    torch.bmm,
    Tensor.matmul,
    Tensor.__matmul__,
)

# Not named after flash: transformers would look for its kernels.
SDPA, FLASH = "hollow_together", "hollow_apart"


def _forward_flops(query: Tensor, key: Tensor, *_: object, **__: object) -> int:
    """Return the operations of two products."""
    batch, heads, rows, width = query.shape
    return 4 * batch * heads * rows * key.shape[2] * width


def _backward_flops(_: Tensor, query: Tensor, key: Tensor, *__: object, **___: object) -> int:
    """Return the operations of five products, one of them a second time."""
    return 5 * _forward_flops(query, key) // 2


_FORMULAS = {**flop_registry, _FUSED: _forward_flops, _FUSED_BACKWARD: _backward_flops}


class HollowMath(TorchDispatchMode):
    """Lets tensors without numbers meet tensors with them, and counts what products take.

    torch's own counter of operations holds on to the inputs of every module, which checkpointing
    lets go; so its formulas are used here, and not the counter.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @override
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation on shapes, or on numbers where all that it takes has some."""
        given = {**(kwargs or {})}
        if func is _COPIED and not args[0].is_meta and not args[0].is_floating_point():
            return func(*args, **{**given, "device": None})
        if func in _BY_INDEX:
            args = (args[0], _places(args[1]), *args[2:])
        hollow = [one.is_meta for one in tree_leaves((args, given)) if isinstance(one, Tensor)]
        if any(hollow) and not all(hollow):
            args, given = tree_map(_emptied, (args, given))
        if func is _GROUPED:
            return self._grouped(*args, **given)
        result = func(*args, **given)
        kind = func._overloadpacket  # type: ignore[attr-defined]  # noqa: SLF001 - what the formulas go by
        if formula := _FORMULAS.get(kind):
            self.flops += formula(*args, **given, out_val=result)
        return result

    def _grouped(self, left: Tensor, right: Tensor, offs: Tensor, *_: object) -> Tensor:
        """Return the product of rows with a matrix for each group, as a shape.

        Each row meets the matrix of its own group, so that only the experts that were chosen cost
        anything. torch has no formula for it, and its shapes are for bfloat16 alone.

        Args:
            left: Rows, or, where gradients of matrices are wanted, rows of each group side by side.
            right: A matrix for each group, or likewise rows.
            offs: Where each group ends.
        """
        rows, columns = left.shape[-2], right.shape[-1]
        self.flops += 2 * rows * columns * left.shape[-1]
        groups = offs.shape if left.dim() == right.dim() else ()
        return left.new_empty((*groups, rows, columns))


def _emptied(value: Any) -> Any:  # noqa: ANN401 - whatever an operation takes
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return indices with their masks turned into places, so that their number is known."""
    found: list[Tensor | None] = []
    for index in indices:
        is_mask = index is not None and index.dtype == torch.bool and not index.is_meta
        found += index.nonzero().unbind(1) if index is not None and is_mask else [index]
    return found


class HollowAutocast(TorchFunctionMode):
    """What `torch.autocast` does to products, where it cannot be had.

    Args:
        dtype: Of the products.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._casts: dict[int, Tensor] = {}

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function, its arguments in half precision where it is a product."""
        given = {**(kwargs or {})}
        if func in _PRODUCTS:
            args, given = tree_map(self._cast, (tuple(args), given))
        return func(*args, **given)

    def forget_casts(self) -> None:
        """Let go of the cast parameters, as autocast does when its block ends."""
        self._casts.clear()

    def _cast(self, value: Any) -> Any:  # noqa: ANN401 - whatever a function takes
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not (isinstance(value, nn.Parameter) and value.requires_grad):
            return value.to(self._dtype)
        if id(value) not in self._casts:
            self._casts[id(value)] = value.to(self._dtype)
        return self._casts[id(value)]


@contextmanager
def autocast_on_shapes() -> Iterator[None]:
    """Let code turn `torch.autocast` off for shapes, where torch itself knows none and raises.

    PEFT does so around the LoRA of experts. Turning it on is left to `HollowAutocast`.
    """
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> AbstractContextManager[object]:  # noqa: ANN401
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        torch.autocast = real  # type: ignore[misc]


def install_hollow_attention() -> None:
    """Make the stand-ins for attention known to transformers, under names of their own."""
    AttentionInterface.register(SDPA, _attend)
    AttentionMaskInterface.register(SDPA, sdpa_mask)
    AttentionInterface.register(FLASH, _attend_apart)
    AttentionMaskInterface.register(FLASH, _no_mask)


def _no_mask(*_: object, **__: object) -> None:
    return None


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend as SDPA does: every head has its keys, and a mask has a number for each pair."""
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = (one.repeat_interleave(groups, 1) if groups > 1 else one for one in (key, value))
    mask = None if attention_mask is None else attention_mask.to(query.dtype)
    out = _FUSED(query, key, value, 0.0, False, attn_mask=mask, scale=scaling)[0]  # noqa: FBT003
    return out.transpose(1, 2).contiguous(), None


def _attend_apart(
    _: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - transformers hands it on by name
    *,
    scaling: float | None = None,
    position_ids: Tensor | None = None,
    **__: object,
) -> tuple[Tensor, None]:
    """Attend as flash attention does: each example alone, no mask."""
    starts = torch.zeros(1, dtype=torch.long)
    if position_ids is not None and not position_ids.is_meta:
        starts = (position_ids.flatten() == 0).nonzero().flatten()
    ends = [*starts[1:].tolist(), query.shape[2]]
    lengths = [end - start for start, end in zip(starts.tolist(), ends, strict=True)]
    parts = [
        _FUSED(*three, 0.0, False, scale=scaling)[0]  # noqa: FBT003
        for three in zip(*(one.split(lengths, 2) for one in (query, key, value)), strict=True)
    ]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    return joined.transpose(1, 2).contiguous(), None
