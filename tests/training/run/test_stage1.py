import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from coordexp.config.load import load_config
from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CheckpointError, InputError, RecordError
from coordexp.export.merge import merge_checkpoint
from coordexp.inference.run.predict import load_predictor, predict_file
from coordexp.model.card import load_card_section, load_trained_classes, load_weights_card
from coordexp.model.load import load_base
from coordexp.training.run.stage1 import build_trainer, train
from tests.inference.plainly import plainly

MakeConfig = Callable[..., Config]
TEXT: dict[str, dict[str, Any]] = {
    "custom": {
        "coord_tokens": {"enabled": False},
        "coord_soft_ce_w1": {"enabled": False},
        "coord_offset": {"enabled": False},
    },
    "training": {"optimizer": "multimodal"},
}
COORD_KEYS = {
    f"coord_diag/{key}"
    for key in (
        *("loss", "ce", "soft_ce", "w1", "gate"),
        *("coord_vocab_mass", "coord_tokens", "enabled", "p_gt"),
    )
}
MODES: dict[str, dict[str, Any]] = {
    "coords": {},
    "gate_weight 0": {"custom": {"coord_soft_ce_w1": {"enabled": True, "gate_weight": 0.0}}},
    "no coordinate in any record": {},
    "text baseline": TEXT,
}
OFFSET_KEY = "embed_tokens.coord_offset_adapter"


def offset_rows(checkpoint: Path) -> torch.Tensor:
    weights = load_file(checkpoint / "adapter_model.safetensors")
    (rows,) = (tensor for name, tensor in weights.items() if OFFSET_KEY in name)
    return rows


@pytest.fixture(scope="module")
def run(make_config: MakeConfig, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_config(
        tmp_path_factory.mktemp("run") / "checkpoint",
        training={"max_steps": 2, "eval_strategy": "steps", "eval_steps": 2},
        data={"train": str(scenes), "eval": str(scenes)},
    )
    return train(config)


def test_a_run_leaves_the_adapter_and_all_that_belongs_to_it(
    run: Path, tiny_expanded: Path, scenes: Path
) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "adapter_model.safetensors",
        "adapter_config.json",
        "coordexp.json",
        "config.yaml",
        "train_log.jsonl",
        "tokenizer.json",
    }
    assert not [name for name in names if name.endswith(".partial")]
    card = load_weights_card(run)
    assert (card.base, card.tie_head) == (str(tiny_expanded), True)
    style = load_card_section(run, "style")
    assert isinstance(style, dict)
    assert style["user_prompt"] == "Find every digit."
    descs = {item.desc for record in RecordFile(scenes, SPEC_ALPHABET) for item in record.objects}
    assert load_trained_classes(run) == tuple(sorted(descs))
    assert offset_rows(run).shape == (1000, offset_rows(run).shape[1])
    assert torch.count_nonzero(offset_rows(run)) > 0


def test_the_saved_configuration_is_the_one_that_ran(run: Path, make_config: MakeConfig) -> None:
    again = load_config(run / "config.yaml")
    assert again.training.max_steps == 2
    assert again.custom == make_config(run).custom


def test_the_log_holds_every_step_and_the_evaluation(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
    (evaluated,) = (row for row in rows if "eval_loss" in row)
    assert evaluated["step"] == 2
    assert evaluated["eval_coord_diag/enabled"] == 1
    assert evaluated["eval_loss"] == pytest.approx(
        evaluated["eval_base_ce/loss"] + evaluated["eval_coord_diag/loss"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_coord_figure_is_in_every_line_in_every_mode(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, mode: str
) -> None:
    records = scenes
    if mode == "no coordinate in any record":
        records = scenes.with_name("empty.jsonl")
        rows = [json.loads(line) for line in scenes.read_text().splitlines()]
        records.write_text("".join(json.dumps({**row, "objects": []}) + "\n" for row in rows))
    evaluating = {"eval_strategy": "steps", "eval_steps": 1}
    changes = {**MODES[mode], "training": {**MODES[mode].get("training", {}), **evaluating}}
    data = {"train": str(records), "eval": str(records)}
    run = train(make_config(tmp_path / "run", **changes, data=data))
    rows = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    (trained,) = (row for row in rows if "loss" in row)
    (evaluated,) = (row for row in rows if "eval_loss" in row)
    for prefix, row in (("", trained), ("eval_", evaluated)):
        figures = {key: row[prefix + key] for key in COORD_KEYS}
        assert figures["coord_diag/enabled"] == (mode != "text baseline")
        with_coords = mode in ("coords", "gate_weight 0")
        assert (figures["coord_diag/coord_tokens"] > 0) == with_coords
        for key in ("gate", "coord_vocab_mass", "p_gt", "loss"):
            assert (figures[f"coord_diag/{key}"] > 0) == with_coords


def test_a_directory_that_holds_something_else_is_refused(
    run: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds a run of another configuration"):
        train(make_config(run))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"no run of coordexp train \(no config\.yaml\)"):
        train(make_config(tmp_path))
    with pytest.raises(InputError, match="is a file"):
        train(make_config(tmp_path / "file"))


def test_a_run_starts_from_a_saved_adapter(
    run: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "next", tuner={"resume_adapter": str(run)})
    trainer = build_trainer(config, callbacks=[])
    state = trainer.model.state_dict()
    (name,) = (name for name in state if OFFSET_KEY in name and "modules_to_save" in name)
    assert torch.equal(state[name], offset_rows(run))
    trainer.train()
    assert not torch.equal(trainer.model.state_dict()[name], offset_rows(run))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tuner": {"lora_rank": 8}}, "tuner.lora_rank 8, there 4"),
        ({"tuner": {"freeze_aligner": True}}, r"tuner\.target_modules and tuner\.freeze_"),
        (
            {"custom": {"coord_offset": {"enabled": True, "tie_head": False}}},
            "custom.coord_offset.tie_head False, there True",
        ),
    ],
)
def test_an_adapter_of_another_make_is_refused(
    run: Path,
    make_config: MakeConfig,
    tmp_path: Path,
    changes: dict[str, dict[str, object]],
    named: str,
) -> None:
    tuner = {**changes.get("tuner", {}), "resume_adapter": str(run)}
    config = make_config(tmp_path / "next", **{**changes, "tuner": tuner})
    with pytest.raises(InputError, match=named):
        train(config)
    assert not (tmp_path / "next").exists()


def test_what_is_no_adapter_is_refused(
    make_config: MakeConfig, tiny_expanded: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "next", tuner={"resume_adapter": str(tiny_expanded)})
    with pytest.raises(CheckpointError, match="expected an adapter"):
        train(config)


@pytest.mark.slow
def test_the_text_baseline_trains_on_the_plain_base(
    make_config: MakeConfig, tiny_base: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", **TEXT, model={"path": str(tiny_base)})
    trainer = build_trainer(config, callbacks=[])
    trainer.train()
    row = trainer.state.log_history[0]
    assert row["loss"] == pytest.approx(row["base_ce/loss"], rel=1e-6)
    assert {key: value for key, value in row.items() if key.startswith("coord_diag/")} == (
        dict.fromkeys(COORD_KEYS, 0)
    )
    assert not any("coord_offset" in name for name in trainer.model.state_dict())


@pytest.mark.slow
def test_a_model_trained_as_a_whole_is_used_as_it_is(
    make_config: MakeConfig, scenes: Path, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path / "full",
        tuner={"train_type": "full", "freeze_vit": True},
        training={"optimizer": "multimodal"},
        custom={**TEXT["custom"], "coord_tokens": {"enabled": True}}
        | {"coord_soft_ce_w1": {"enabled": True}},
    )
    saved = train(config)
    before = load_base(config.model.path, dtype="float32", attn_implementation="sdpa")
    after = load_base(saved, dtype="float32", attn_implementation="sdpa")
    moved = {
        name
        for name, value in after.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert any("embed_tokens" in name for name in moved)
    assert not any("visual.blocks" in name for name in moved)
    assert after.get_input_embeddings().weight is after.get_output_embeddings().weight
    assert after.config.text_config.use_cache is True
    assert (saved / "preprocessor_config.json").is_file()
    with pytest.raises(CheckpointError, match=r"trained with tuner\.train_type: full"):
        merge_checkpoint(saved, tmp_path / "merged", overwrite=False)
    out = tmp_path / "p.jsonl"
    summary = predict_file(
        load_predictor(saved), scenes, out, plainly(batch_size=6, max_new_tokens=2)
    )
    assert summary.lines == 6


def test_an_over_long_example_leaves_nothing_behind(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", training={"global_max_length": 50})
    with pytest.raises(RecordError, match=r"train\.jsonl:\d: the example has \d+ tokens"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_a_group_without_parameters_is_refused_before_anything_is_written(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", tuner={"target_modules": ["q_proj"]})
    with pytest.raises(InputError, match="group aligner matches no trainable parameter"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_a_bad_record_is_refused_before_the_model_is_loaded(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("loaded the model")

    shutil.copytree(scenes.parent, tmp_path / "data")
    path = tmp_path / "data" / scenes.name
    path.write_text(path.read_text() + "{}\n")
    monkeypatch.setattr("coordexp.training.run.stage1.build_learner", fail)
    config = make_config(tmp_path / "run", data={"train": str(path)})
    with pytest.raises(RecordError, match=r"train\.jsonl:7: "):
        train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_checkpoints_on_the_way_are_complete_too(
    make_config: MakeConfig, tmp_path: Path, *, tied: bool
) -> None:
    config = make_config(
        tmp_path / "run",
        training={"max_steps": 2, "save_strategy": "steps", "save_steps": 1},
        custom={"coord_offset": {"enabled": True, "tie_head": tied}},
    )
    train(config)
    merge_checkpoint(tmp_path / "run" / "checkpoint-1", tmp_path / "merged", overwrite=False)
    saved = yaml.safe_load((tmp_path / "run" / "checkpoint-1" / "config.yaml").read_text())
    assert saved["custom"]["coord_offset"]["tie_head"] is tied
