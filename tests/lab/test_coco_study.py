"""The COCO study, dry: the file as it is kept, on the tiny base, two steps, eight pictures."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.errors import ConfigError
from coordexp.lab.results import load_lines
from coordexp.lab.study import load_plan
from coordexp.scenes.tasks import TASKS, write_task

STUDIES = Path(__file__).parents[2] / "studies"
NAME = "coco_qwen3vl"
ARMS = {
    "stock": ["token"],
    "integers": ["token"],
    "hard": ["token"],
    "soft": ["token"],
    "best": ["token", "expectation"],
}
DRY = """
model: {dtype: float32}
training:
  max_steps: 2
  per_device_train_batch_size: 2
  effective_batch_size: 2
  bf16: false
  gradient_checkpointing: false
  dataloader_num_workers: 0
  use_cpu: true
  save_strategy: "no"
"""


def write_dry(folder: Path) -> Path:
    """Write the study on digit scenes and the tiny base; all else is as it is kept."""
    write_task(folder / "scenes", TASKS["known"], train=12, heldout=2, seed=0, heldout_seed=0)
    (folder / "dry.yaml").write_text(DRY, "utf-8")
    graft = {"extends": [str(STUDIES / "coco_graft.yaml"), str(folder / "dry.yaml")]}
    (folder / "graft.yaml").write_text(yaml.safe_dump(graft), "utf-8")
    study = yaml.safe_load((STUDIES / f"{NAME}.yaml").read_text("utf-8"))
    study |= {"out": str(folder / "out"), "results": str(folder / "study.jsonl")}
    study |= {"heldout": 2, "max_new_tokens": 150}
    study["extends"] = [*(str(STUDIES / name) for name in study["extends"]), "dry.yaml"]
    for recipe in study["recipes"].values():
        recipe["extends"] = [str(STUDIES / name) for name in recipe["extends"]]
    scenes = folder / "scenes"
    study["tasks"]["coco"] = {
        "train": str(scenes / "train.jsonl"),
        "heldout": str(scenes / "heldout.jsonl"),
        "prompt": TASKS["known"].prompt,
    }
    for base in study["bases"].values():
        base["path"] = "tiny"
    study["bases"]["grafted"]["graft"] |= {"size": 12, "config": str(folder / "graft.yaml")}
    for arm in study["arms"]:
        arm |= {"sizes": [8], "seeds": [0]}
    path = folder / "dry_study.yaml"
    path.write_text(yaml.safe_dump(study), "utf-8")
    return path


@pytest.mark.long
def test_every_arm_runs_to_a_line_and_the_report_is_written(tmp_path: Path) -> None:
    path = write_dry(tmp_path)
    done = CliRunner().invoke(app, ["lab", "run", str(path)])
    assert done.exit_code == 0, done.output
    lines = {line.recipe: line for line in load_lines(tmp_path / "study.jsonl").values()}
    assert {name: list(line.figures) for name, line in lines.items()} == ARMS
    for line in lines.values():
        for figures in line.figures.values():
            assert {"AP", "F1@0.5", "F1@0.95", "F1@mIoU"} <= figures.keys()
    assert "train" not in lines["stock"].cost
    grafted = json.loads((tmp_path / "out" / "bases" / "grafted" / "graft.json").read_text("utf-8"))
    assert grafted["cost"]["train"]["finished"]
    assert CliRunner().invoke(app, ["lab", "report", str(path)]).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert all(f"coco 8 {name} seed 0" in page for name in ARMS)


def test_it_lacks_nothing_but_its_pictures_here() -> None:
    """What is said where neither COCO nor the base lies is that the records are not there."""
    with pytest.raises(ConfigError) as caught:
        load_plan(STUDIES / f"{NAME}.yaml")
    first, *problems = str(caught.value).splitlines()
    assert first.endswith("2 problem(s)")
    assert all("cannot be read" in problem for problem in problems)
