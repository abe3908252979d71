"""Our parts as ms-swift wants them: this module needs ms-swift to be imported, no other does."""

from functools import wraps
from pathlib import Path
from typing import Any

from peft import PeftModel
from swift.loss import BaseLoss, loss_map
from swift.optimizers import OptimizerCallback, optimizers_map
from swift.pipelines import SwiftSft
from swift.trainers import Seq2SeqTrainer, TrainerFactory
from swift.tuner_plugin import Tuner, tuners_map
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from coordexp.integrations.ms_swift.install import connect, is_connected
from coordexp.integrations.ms_swift.refusals import LOSS, OPTIMIZER
from coordexp.integrations.ms_swift.settings import config_of_arguments
from coordexp.integrations.ms_swift.trainer import HostedTrainer
from coordexp.integrations.ms_swift.tuner import prepare_adapter, restore_adapter, save_adapter
from coordexp.objective import StepCounts


class SwiftTrainer(HostedTrainer, Seq2SeqTrainer):  # type: ignore[misc] # ms-swift may be absent
    """ms-swift's trainer with the coord objective."""


class CoordLoss(BaseLoss):  # type: ignore[misc]
    """Text as cross-entropy, coordinates as distributions; see `coordexp.objective`."""

    @override
    def __call__(
        self,
        outputs: Any,
        labels: Tensor,
        *,
        num_items_in_batch: StepCounts | None = None,
        **_: object,
    ) -> Tensor:
        loss: Tensor = self.trainer.coord_loss(outputs, labels, num_items_in_batch)
        return loss


class CoordOptimizer(OptimizerCallback):  # type: ignore[misc]
    """AdamW over coord embed, coord head, vision, aligner and language."""

    @override
    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        optimizer: Optimizer = self.trainer.coord_optimizer(model)
        return optimizer


class CoordTuner(Tuner):  # type: ignore[misc]
    """LoRA and DoRA, with the coord offsets beside them."""

    @staticmethod
    @override
    def prepare_model(args: Any, model: Any) -> PeftModel:
        return prepare_adapter(args, model)

    @staticmethod
    @override
    def save_pretrained(model: PeftModel, save_directory: str, **options: Any) -> None:
        save_adapter(model, Path(save_directory), **options)

    @staticmethod
    @override
    def from_pretrained(
        model: Any, model_id: str, *, is_trainable: bool = False, **_: object
    ) -> PeftModel:
        return restore_adapter(model, Path(model_id), trainable=is_trainable)


@wraps(SwiftSft.run)
def run_connected(sft: Any) -> Any:  # noqa: ANN401 - ms-swift's
    """Run `swift sft`, connected before it begins."""
    if not is_connected(sft):
        config = config_of_arguments(sft.args)
        # Its datasets are messages, from which no list of classes can be told.
        connect(sft, config, classes=config.custom.classes)
    return run_connected.__wrapped__(sft)


def register() -> None:
    """Put our parts into ms-swift's tables, and connect every `swift sft` before it runs."""
    loss_map[LOSS] = CoordLoss
    optimizers_map[OPTIMIZER] = CoordOptimizer
    tuners_map["lora"] = CoordTuner
    TrainerFactory.TRAINER_MAPPING["causal_lm"] = f"{__name__}.{SwiftTrainer.__name__}"
    SwiftSft.run = run_connected
