"""Random inputs of one call of the stage-1 loss."""

from typing import Any

import torch
from torch import Tensor

from coordexp.objective import CoordTarget, CoordWeights, Stage1Output, stage1_loss

WIDTH, VOCAB = 5, 23
IDS = range(11, 20)  # nine bins with text on both sides
WEIGHTS = CoordWeights(ce=0.7, soft_ce=1.3, w1=0.9, gate=1.1)
TARGET = CoordTarget(sigma=1.5, truncate=3, temperature=1.0, w1_unit="bins", w1_target="soft")
LABELS = (3, 11, -100, 15, 22, 19, -100, 0, 12)


class Case:
    """Random inputs of one call; `.loss()` with any argument replaced."""

    def __init__(
        self,
        labels: tuple[int, ...] = LABELS,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        offset: bool = True,
        scale: float = 1.0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def leaf(rows: int) -> Tensor:
            values = scale * torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64)
            return values.to(dtype).requires_grad_()

        self.hidden, self.head = leaf(len(labels)), leaf(VOCAB)
        self.offset = leaf(len(IDS)) if offset else None
        self.labels = torch.tensor(labels, dtype=torch.long)

    def loss(self, **changes: object) -> Stage1Output:
        arguments: dict[str, Any] = {
            "coord_ids": torch.tensor(list(IDS)),
            "head_offset": self.offset,
            "weights": WEIGHTS,
            "target": TARGET,
            "denominators": None,
            "backend": "reference",
            **changes,
        }
        hidden = arguments.pop("hidden", self.hidden)
        labels = arguments.pop("labels", self.labels)
        return stage1_loss(hidden, arguments.pop("head", self.head), labels, **arguments)

    def gradients(self, output: Stage1Output) -> tuple[Tensor, ...]:
        leaves = [leaf for leaf in (self.hidden, self.head, self.offset) if leaf is not None]
        return torch.autograd.grad(output.loss, leaves, materialize_grads=True)
