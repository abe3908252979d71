"""Which records a Trainer sees, with a model that only remembers them."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from coordexp.data.plan.schedule import FixedBatches, PackedBatches, PackSettings, Shuffled
from coordexp.objective import CoordTarget, CoordWeights
from coordexp.training.loop.seams import TrainerSeams
from coordexp.training.step.feed import RECORDS, Feed
from coordexp.training.step.loss_function import Objective

RECORD_COUNT = 11


class Numbers(torch.utils.data.Dataset[Tensor]):
    """Records that are their own index; some of them are asked for."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return RECORD_COUNT

    def __getitem__(self, index: int) -> Tensor:
        self.read.append(index)
        return torch.tensor(float(index))


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, values: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.weight * values).sum() + 0 * torch.rand(()).detach()}


class Diary(TrainerCallback):
    """Which records every step saw."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.steps: list[list[int]] = []
        self.epochs: list[float] = []

    def on_step_end(self, _: object, state: object, *__: object, **___: object) -> None:
        self.steps.append(sorted(self.numbers.read))
        self.epochs.append(state.epoch)  # type: ignore[attr-defined]
        self.numbers.read.clear()


OBJECTIVE = Objective(
    range(0),
    CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0),
    CoordTarget(2.0, 16, 1.0, "fraction", "soft"),
    backend="reference",
)


class NumbersTrainer(TrainerSeams):
    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], **_: object) -> Tensor:
        self.seen = inputs[RECORDS]
        loss: Tensor = model(inputs["values"])["loss"]
        return loss


def collate(values: list[Tensor]) -> dict[str, Tensor]:
    numbers = torch.stack(values) if values else torch.zeros(0)
    return {"values": numbers, "labels": torch.full((len(numbers), 1), -100)}


def packs() -> PackedBatches:
    # Epochs of 6, 7 and 6 packs, so of 3, 4 and 3 steps.
    lengths = [51, 49, 60, 40, 70, 30, 52, 48, 35, 65, 20]
    settings = PackSettings(100, buffer=2, min_fill=0.0, drop_last=False)
    return PackedBatches(Shuffled(range(RECORD_COUNT), 4), lengths, settings, seed=4)


def trainer_of(out: Path, *, packed: bool, **changes: object) -> tuple[NumbersTrainer, Diary]:
    numbers = Numbers()
    plan = packs() if packed else FixedBatches(Shuffled(range(RECORD_COUNT), 4), 2)
    arguments = {
        "num_train_epochs": 3,
        "gradient_accumulation_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "learning_rate": 0.0,
        "remove_unused_columns": False,
    }
    diary = Diary(numbers)
    trainer = NumbersTrainer(
        Remembering(),
        TrainingArguments(str(out), **(arguments | changes)),
        train_dataset=Feed(numbers, plan, collate),
        objective=OBJECTIVE,
        callbacks=[diary],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, diary


@pytest.fixture(scope="module", params=[True, False], ids=["packed", "fixed"])
def whole_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Diary, bool]:
    out = tmp_path_factory.mktemp("run")
    trainer, diary = trainer_of(out, packed=request.param)
    trainer.train()
    return out, diary, request.param


def test_every_epoch_sees_every_record_once(whole_run: tuple[Path, Diary, bool]) -> None:
    _, diary, _ = whole_run
    seen = Counter(index for step in diary.steps for index in step)
    assert seen == Counter(dict.fromkeys(range(RECORD_COUNT), 3))
    assert diary.epochs[-1] == 3.0
    ends = [number for number, epoch in enumerate(diary.epochs, 1) if epoch.is_integer()]
    first = [index for step in diary.steps[: ends[0]] for index in step]
    assert sorted(first) == list(range(RECORD_COUNT))


def test_the_steps_of_epochs_differ_as_their_packs_do() -> None:
    assert [packs().count(epoch) for epoch in range(3)] == [6, 7, 6]


@pytest.mark.parametrize("stop", [2, 4])
def test_a_resumed_run_reads_what_is_left_and_nothing_else(
    whole_run: tuple[Path, Diary, bool], stop: int
) -> None:
    out, diary, packed = whole_run
    trainer, again = trainer_of(out, packed=packed, save_strategy="no")
    trainer.train(resume_from_checkpoint=str(out / f"checkpoint-{stop}"))
    assert again.steps == diary.steps[stop:]
    assert again.epochs == diary.epochs[stop:]


def test_workers_change_no_order(whole_run: tuple[Path, Diary, bool], tmp_path: Path) -> None:
    _, diary, packed = whole_run
    trainer, _ = trainer_of(tmp_path, packed=packed, save_strategy="no", dataloader_num_workers=1)
    loader = trainer.get_train_dataloader()
    batches = [batch[RECORDS].tolist() for batch in loader]
    assert [sorted(batches[0] + batches[1])] == diary.steps[:1]


def test_max_steps_may_end_within_an_epoch(tmp_path: Path) -> None:
    trainer, diary = trainer_of(tmp_path, packed=True, max_steps=4, save_strategy="no")
    trainer.train()
    assert len(diary.steps) == 4
    assert trainer.state.global_step == trainer.state.max_steps == 4


def test_a_part_of_an_epoch_is_a_part_of_its_steps(tmp_path: Path) -> None:
    trainer, diary = trainer_of(tmp_path, packed=False, num_train_epochs=1.5, save_strategy="no")
    trainer.train()
    # 11 records, batches of 2: 6 passes, 3 steps an epoch; half of the second rounds up to 2.
    assert len(diary.steps) == 5


def test_a_plain_dataset_is_shuffled_from_the_seed(tmp_path: Path) -> None:
    trainer, _ = trainer_of(tmp_path, packed=False, per_device_train_batch_size=4, data_seed=9)
    trainer.train_dataset = Numbers()
    trainer.data_collator = collate
    batches = [batch[RECORDS].tolist() for batch in trainer.get_train_dataloader()]
    assert [index for batch in batches for index in batch] == Shuffled(range(11), 9).records(0)
    assert list(map(len, batches)) == [4, 4, 3]
    ordered = trainer.get_eval_dataloader(Numbers())
    assert [index for batch in ordered for index in batch[RECORDS].tolist()] == list(range(11))


def test_a_finished_run_that_is_resumed_trains_no_step_more(
    whole_run: tuple[Path, Diary, bool],
) -> None:
    out, diary, packed = whole_run
    last = len(diary.steps)
    trainer, again = trainer_of(out, packed=packed, save_strategy="no")
    trainer.train(resume_from_checkpoint=str(out / f"checkpoint-{last}"))
    assert again.steps == []
    assert trainer.state.global_step == last
