"""Several files with weights, chats among them, through a whole run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coordexp.config.schema import Config
from coordexp.errors import RecordError
from coordexp.training.run.stage1 import build_trainer, train

MakeConfig = Callable[..., Config]


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Five chats, the last one with a picture."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    path = tmp_path / "chats.jsonl"
    rows: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "user", "content": f"What follows {number}?"},
                {"role": "assistant", "content": f"{number + 1} does."},
            ]
        }
        for number in range(5)
    ]
    rows[4]["images"] = ["red.png"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mixed(scenes: Path, chats: Path) -> dict[str, Any]:
    parts = [{"path": str(scenes)}, {"path": str(chats), "weight": 2.0}]
    return {"train": None, "mix": parts}


@pytest.mark.slow
@pytest.mark.parametrize("packing", [False, True])
def test_a_mix_trains_and_every_line_counts_as_its_weight_says(
    make_config: MakeConfig, scenes: Path, chats: Path, tmp_path: Path, *, packing: bool
) -> None:
    training = {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 2}
    if packing:
        sizes = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}
        training |= {"packing": True, "global_max_length": 600, **sizes}
    config = make_config(tmp_path / "run", training=training, data=mixed(scenes, chats))
    trainer = build_trainer(config, callbacks=[])
    loader = trainer.get_train_dataloader()
    places = [place for batch in loader for place in trainer._places(batch, training=True)]
    assert sorted(places) == sorted(
        [f"{scenes}:{line}" for line in range(1, 7)]
        + 2 * [f"{chats}:{line}" for line in range(1, 6)]
    )
    run = train(config)
    rows = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    assert all(row["loss"] > 0 for row in rows if "loss" in row)
    assert (run / "adapter_model.safetensors").exists()


def test_a_wrong_chat_is_named_before_the_run_starts(
    make_config: MakeConfig, scenes: Path, chats: Path, tmp_path: Path
) -> None:
    (tmp_path / "red.png").unlink()
    config = make_config(tmp_path / "run", data=mixed(scenes, chats))
    with pytest.raises(RecordError, match=r"chats\.jsonl:5: images\[0\]: there is no file"):
        build_trainer(config, callbacks=[])
