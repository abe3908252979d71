"""What the fixtures of this package give."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Case:
    """A base and its adapter, and the weights that a merge must give.

    Args:
        tied: Of the base.
        tie_head: Of the adapter.
        use_dora: Of the adapter.
        base: The base in float32 and one file.
        adapter: On it.
        expected: What PEFT merges in memory, in float32, by name.
    """

    tied: bool
    tie_head: bool
    use_dora: bool
    base: Path
    adapter: Path
    expected: dict[str, Tensor]


Cases = Callable[..., Case]
MakePath = Callable[..., Path]
ReadCertificate = Callable[[Path], dict[str, Any]]
