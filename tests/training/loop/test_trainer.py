import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import torch
from transformers import TrainingArguments

from coordexp.config.schema import Config
from coordexp.errors import CoordExpError, InputError
from coordexp.model.adapters import base_model
from coordexp.model.coord_offset import OffsetHead
from coordexp.objective import Stage1Output, StepCounts
from coordexp.training.loop.trainer import check_arguments
from coordexp.training.run.stage1 import build_trainer
from coordexp.training.watch.monitor import check_finite

MakeConfig = Callable[..., Config]
COORD_KEYS = (
    *("loss", "ce", "soft_ce", "w1", "gate"),
    *("coord_vocab_mass", "coord_tokens", "enabled", "p_gt"),
)
KEYS = {
    "base_ce/loss",
    "base_ce/tokens",
    "token_acc",
    *(f"coord_diag/{key}" for key in COORD_KEYS),
}
TRANSFORMERS_KEYS = {"loss", "grad_norm", "learning_rate", "epoch", "step"}
TIMES = ("data_seconds", "forward_seconds", "backward_seconds", "step_seconds")
SPEED_KEYS = {
    *(f"speed/{key}" for key in TIMES),
    *("speed/records_per_second", "speed/targets_per_second", "speed/peak_memory_gb"),
}
GROUPS = ("coord_embed", "vision", "aligner", "language")
GROUP_KEYS = {f"{kind}/{group}" for kind in ("lr", "grad_norm") for group in GROUPS}
NAMED = r"broken terms: text, gate; records: .*train\.jsonl:\d, .*train\.jsonl:\d, .*jsonl:\d$"
BATCHES = {"1x6": (1, 6), "6x1": (6, 1), "2x3": (2, 3)}


class Step(Protocol):
    row: dict[str, float]
    gradients: dict[str, torch.Tensor]


def sizes(name: str) -> dict[str, int]:
    batch, accumulation = BATCHES[name]
    return {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
    }


@pytest.fixture(scope="module")
def splits(
    make_config: MakeConfig,
    first_step: Callable[[Config], Step],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Step]:
    """The first step of the same six records, cut in three ways."""
    out = tmp_path_factory.mktemp("splits")
    return {name: first_step(make_config(out / name, training=sizes(name))) for name in BATCHES}


@pytest.mark.parametrize("name", ["6x1", "2x3"])
def test_the_split_of_a_step_changes_neither_loss_nor_log(
    splits: dict[str, Step], name: str
) -> None:
    expected, got = splits["1x6"].row, splits[name].row
    assert {key: got[key] for key in ("loss", *KEYS)} == pytest.approx(
        {key: expected[key] for key in ("loss", *KEYS)}, rel=1e-5
    )


@pytest.mark.parametrize("name", ["6x1", "2x3"])
def test_the_split_of_a_step_changes_no_gradient(splits: dict[str, Step], name: str) -> None:
    expected, got = splits["1x6"].gradients, splits[name].gradients
    assert got.keys() == expected.keys()
    for key, gradient in expected.items():
        error = (got[key] - gradient).norm() / gradient.norm().clamp_min(1e-12)
        assert error < 1e-5 or (got[key] - gradient).abs().max() < 1e-8, key


def test_the_logged_keys_are_those_of_the_design(splits: dict[str, Step]) -> None:
    ours = KEYS | SPEED_KEYS | GROUP_KEYS | {"offset_norm/coord_embed"}
    assert set(splits["1x6"].row) == ours | TRANSFORMERS_KEYS


def test_the_norms_of_the_groups_make_up_that_of_the_gradient(splits: dict[str, Step]) -> None:
    row = splits["2x3"].row
    squares = sum(row[f"grad_norm/{group}"] ** 2 for group in GROUPS)
    assert squares == pytest.approx(row["grad_norm"] ** 2, rel=1e-5)
    assert (row["lr/coord_embed"], row["lr/vision"]) == (5e-3, 1e-3)


def test_the_loss_is_the_sum_of_what_is_logged(splits: dict[str, Step]) -> None:
    row = splits["2x3"].row
    assert row["loss"] == pytest.approx(row["base_ce/loss"] + row["coord_diag/loss"], rel=1e-6)
    assert row["coord_diag/loss"] == pytest.approx(
        row["coord_diag/soft_ce"] + row["coord_diag/w1"] + row["coord_diag/gate"], rel=1e-6
    )


def test_an_evaluation_reports_on_the_scale_of_training(
    make_config: MakeConfig, scenes: Path, splits: dict[str, Step], tmp_path: Path
) -> None:
    # Batches of 4 and 2 records: a mean over batches would differ.
    config = make_config(
        tmp_path / "run",
        training={"per_device_eval_batch_size": 4},
        data={"train": str(scenes), "eval": str(scenes)},
    )
    figures = build_trainer(config, callbacks=[]).evaluate()
    expected = {f"eval_{key}": splits["6x1"].row[key] for key in ("loss", *KEYS)}
    assert {key: figures[key] for key in expected} == pytest.approx(expected, rel=1e-5)


def test_only_offsets_and_lora_move(make_config: MakeConfig, tmp_path: Path) -> None:
    trainer = build_trainer(make_config(tmp_path / "run", training={"max_steps": 3}), callbacks=[])
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {name for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert moved == expected
    assert all("lora_" in name or "coord_offset_adapter" in name for name in moved)
    assert any("coord_offset_adapter" in name for name in moved)


def test_a_rank_that_does_not_save_writes_nothing(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build_trainer(make_config(tmp_path / "run"), callbacks=[])
    trainer._save(str(tmp_path / "first"))
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    trainer._save(str(tmp_path / "second"))
    assert (tmp_path / "first" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "second").exists()


def test_a_weight_that_is_infinite_stops_the_run_by_its_terms(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    trainer = build_trainer(make_config(tmp_path / "run"), callbacks=[])
    head = base_model(trainer.model).get_output_embeddings()
    assert isinstance(head, OffsetHead)
    with torch.no_grad():
        head.base.weight[7] = math.inf  # no coord row: softCE and W1 stay finite
        head.base.weight[7, ::2] = -math.inf
    with pytest.raises(CoordExpError, match=NAMED) as raised:
        trainer.train()
    assert raised.value.exit_code == 1


def test_a_lost_loss_names_its_terms() -> None:
    sums = {"text": torch.tensor(1.0), "w1": torch.tensor(math.nan), "gate": torch.tensor(0.0)}
    output = Stage1Output(
        loss=torch.tensor(math.nan),
        sums=sums,
        counts=StepCounts(text=1, coord=1),
        diagnostics={},
        text_hits=torch.zeros(2, dtype=torch.bool),
    )
    with pytest.raises(CoordExpError, match=r"broken terms: w1; records: a:1, a:7$"):
        check_finite(output, lambda: ["a:1", "a:7"])
    check_finite(replace(output, loss=torch.tensor(3.0)), list)
    overflown = replace(output, sums={"text": torch.tensor(3e38)}, loss=torch.tensor(math.inf))
    with pytest.raises(CoordExpError, match="only their weighted sum; records: none"):
        check_finite(overflown, list)


def test_several_gpus_in_one_process_are_refused(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    check_arguments(arguments)
    arguments._n_gpu = 2
    with pytest.raises(InputError, match="torchrun --nproc_per_node 2"):
        check_arguments(arguments)


def test_label_smoothing_is_refused(tmp_path: Path) -> None:
    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to="none", label_smoothing_factor=0.1
    )
    with pytest.raises(InputError, match="label_smoothing_factor"):
        check_arguments(arguments)
