"""The bytes of the tensors that a block of code makes and holds, counted as they come and go."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that a block makes and holds, on whatever device.

    Of parameters' gradients only those count that are not accumulated yet.

    Args:
        model: Whose gradients are meant.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: weakref.WeakSet[UntypedStorage] = weakref.WeakSet()
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._without_gradient)
            for parameter in model.parameters()
            if parameter.requires_grad
        ]

    @property
    def live(self) -> int:
        """Bytes that are held now."""
        return self._live

    def begin_anew(self) -> int:
        """Forget the peak, and return the bytes that are held now."""
        self.peak = self._live
        return self._live

    @override
    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    @override
    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Run an operation, and count what it has made."""
        given = {**(kwargs or {})}
        for storage in _storages((args, given)):
            self._known.add(storage)
        result = func(*args, **given)
        for storage in _storages(result):
            if storage not in self._known:
                self._known.add(storage)
                self._count(storage.nbytes())
                weakref.finalize(storage, self._count, -storage.nbytes()).atexit = False
        return result

    def _count(self, change: int) -> None:
        self._live += change
        self.peak = max(self.peak, self._live)

    def _without_gradient(self, parameter: Tensor) -> None:
        # It goes on living, and is counted apart; when it dies it must not be taken off again.
        if parameter.grad is not None and parameter.grad.untyped_storage() in self._known:
            self._count(-parameter.grad.untyped_storage().nbytes())


def _storages(values: object) -> list[UntypedStorage]:
    return [one.untyped_storage() for one in tree_leaves(values) if isinstance(one, Tensor)]
