"""What our trainers have and ms-swift's lacks, to be put in front of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coordexp.objective import StepCounts
from coordexp.rendering.encode import IGNORE_INDEX
from coordexp.training.keep.weights import TheirFiles
from coordexp.training.loop.optimizer import ParameterGroup, build_optimizer
from coordexp.training.loop.trainer import CoordSoftCEW1LossMixin
from coordexp.training.step.loss_function import Objective


@dataclass(frozen=True, slots=True)
class Hosted:
    """What a run of ms-swift gets from us.

    Args:
        objective: The stage-1 objective.
        groups: Of the optimizer.
        write_extras: Writes what belongs beside the weights into a checkpoint directory.
    """

    objective: Objective
    groups: Sequence[ParameterGroup]
    write_extras: Callable[[Path], None]


class HostedTrainer(CoordSoftCEW1LossMixin):
    """Gives ms-swift's trainer our loss, optimizer groups, order of records and checkpoints.

    The loss goes through ms-swift's own door, `loss_map`, which calls `coord_loss`: the model's
    output holds hidden states there, gathered at the supervised places where ms-swift compacts the
    labels, so that no logits are built.

    Args:
        hosted: Ours; all other arguments are ms-swift's.
    """

    def __init__(self, *args: Any, hosted: Hosted, **kwargs: Any) -> None:  # noqa: ANN401 - ms-swift's
        super().__init__(*args, objective=hosted.objective, **kwargs)
        self._swift_groups = hosted.groups
        self._files = TheirFiles(hosted.write_extras)
        self._shuffles = self.args.train_dataloader_shuffle  # type: ignore[attr-defined] # ms-swift's
        self.data_collator = NeverEmpty(self.data_collator, self.train_dataset)

    def coord_loss(self, outputs: Any, labels: Tensor, counts: StepCounts | None) -> Tensor:  # noqa: ANN401
        """Return the stage-1 loss.

        Args:
            outputs: Of the model; its `logits` are hidden states, and are taken away so that
                nobody takes them for logits.
            labels: Not shifted, aligned with them.
            counts: Targets of the whole optimizer step.
        """
        loss = self._loss_function(outputs.logits, labels, counts)
        outputs.logits = None
        return loss

    def coord_optimizer(self, model: nn.Module | None) -> torch.optim.Optimizer:
        """Return the optimizer over our groups."""
        return build_optimizer(self.args, model or self.model, self._swift_groups)


class NeverEmpty:
    """ms-swift's collator, for a rank too that has no record left when others have the last ones.

    It gets the first record then, with nothing to learn from.

    Args:
        collate: ms-swift's.
        dataset: To take that record from.
    """

    def __init__(self, collate: Any, dataset: Any) -> None:  # noqa: ANN401 - ms-swift's
        self.collate = collate
        self.dataset = dataset

    def __call__(self, rows: list[Any]) -> dict[str, Tensor]:
        """Return the batch."""
        batch: dict[str, Tensor] = self.collate(rows or [_unlabelled(self.dataset[0])])
        return batch


def _unlabelled(row: Any) -> Any:  # noqa: ANN401 - a row, or a pack of them
    if isinstance(row, list):
        return [_unlabelled(part) for part in row]
    return {**row, "labels": [IGNORE_INDEX] * len(row["labels"])}
