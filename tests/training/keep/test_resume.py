"""Runs that are killed and started again end as if nothing had happened, to the bit."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.families.known import DEFAULT_FAMILY
from coordexp.training.keep.checkpoint import checkpoint_step, find_checkpoints
from tests.families.tiny_models import TINY_BASES, TINY_MIXTURES

pytestmark = pytest.mark.slow
MakeConfig = Callable[..., Config]
HARNESS = Path(__file__).parents[1] / "kill_harness.py"

# Checkpoints fall between two log lines and before an evaluation; there is an epoch's end among the
# steps; dropout and the order of objects need the random states, and each epoch has its own views.
TRAINING = {
    "max_steps": 5,
    "per_device_train_batch_size": 1,
    "effective_batch_size": 2,
    "per_device_eval_batch_size": 1,
    "logging_steps": 3,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": 1,
}
CHANGES = {
    "tuner": {"lora_dropout": 0.1},
    "custom": {
        "object_ordering": "random",
        "token_type_metrics": {"enabled": True},
        "instability_monitor": {"enabled": True},
    },
}


AUGMENT = {"flip_left_right": 0.5, "crop": 0.7, "least_visible": 0.1, "colour": 0.3}

# Of one rank are killed three times each, of two ranks twice.
RUNS_KILLED_ANYWHERE = 4


@dataclass
class Forge:
    """Runs trainings, and kills them."""

    server: subprocess.Popen[str]
    make_config: MakeConfig
    scenes: Path

    def write(self, out: Path, **changes: dict[str, Any]) -> Path:
        blocks = {**CHANGES, **changes}
        blocks["training"] = {**TRAINING, **changes.get("training", {})}
        blocks["data"] = {"eval": str(self.scenes), "augment": AUGMENT}
        config = self.make_config(out, **blocks)
        file = out.with_suffix(".yaml")
        file.write_text(dump_config(config))
        return file

    def run(
        self, config: Path, *, ranks: int, kill: dict[str, Any] | None = None, **more: int
    ) -> dict[str, Any]:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        request = {"config": str(config), "ranks": ranks, "kill": kill, **more}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        answer: dict[str, Any] = json.loads(self.server.stdout.readline())
        return answer

    def kill(self, config: Path, *, ranks: int, kill: dict[str, Any]) -> None:
        """Kill a run at a place that it reaches."""
        codes = self.run(config, ranks=ranks, kill=kill)["codes"]
        assert codes[kill.get("rank", 0)] == -9, (kill, codes, errors(config))

    def finish(self, config: Path, *, ranks: int) -> list[str]:
        """Let a run come to its end and return its events."""
        answer = self.run(config, ranks=ranks)
        assert answer["codes"] == [0] * ranks, errors(config)
        events: list[str] = answer["events"]
        return events


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed."""

    path: Path
    events: list[str]


def errors(config: Path) -> str:
    return "".join(path.read_text() for path in config.parent.glob(f"{config.stem}.*.err"))


def untimed_rows(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    timed = ("runtime", "per_second")
    return [
        {k: row[k] for k in row if not (k.endswith(timed) or k.startswith("speed/"))}
        for row in rows
    ]


def assert_same(run: Path, whole: Path) -> None:
    for name in (next(whole.glob("*model.safetensors")).name, "coordexp.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert untimed_rows(run) == untimed_rows(whole)
    assert [list(row) for row in untimed_rows(run)] == [list(row) for row in untimed_rows(whole)]
    written = {path.name for path in run.iterdir()} - {"train_report.html"}  # by the command alone
    assert written == {path.name for path in whole.iterdir()}


def assert_checkpoints_are_whole(run: Path, whole: Path) -> None:
    """Every file of a checkpoint is there and none is cut."""
    (model,) = find_checkpoints(whole)
    expected = {path.name: path.stat().st_size for path in model.iterdir()}
    for checkpoint in find_checkpoints(run):
        sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
        assert sizes.keys() == expected.keys()
        assert sizes["optimizer.pt"] == expected["optimizer.pt"]
        assert sizes["adapter_model.safetensors"] == expected["adapter_model.safetensors"]
        json.loads((checkpoint / "trainer_state.json").read_text())


@pytest.fixture(scope="module")
def forge(
    make_config: MakeConfig,
    tiny_expanded: Path,
    other_families: dict[str, Path],
    scenes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Forge]:
    held_out = scenes.with_name("held_out.jsonl")
    held_out.write_text("".join(scenes.read_text().splitlines(keepends=True)[:2]))
    noise = tmp_path_factory.mktemp("harness") / "errors"
    with (
        noise.open("w") as errors_file,
        subprocess.Popen(
            [sys.executable, str(HARNESS), str(tiny_expanded), *map(str, other_families.values())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors_file,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"},
        ) as server,
    ):
        yield Forge(server, make_config, held_out)
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(timeout=60) == 0, noise.read_text()


@pytest.fixture(scope="module")
def alone(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """One rank, never killed."""
    return unkilled(forge, tmp_path_factory.mktemp("alone") / "run", ranks=1)


@pytest.fixture(scope="module")
def together(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Two ranks, never killed."""
    return unkilled(forge, tmp_path_factory.mktemp("together") / "run", ranks=2)


def unkilled(forge: Forge, out: Path, *, ranks: int) -> Whole:
    events = forge.finish(forge.write(out), ranks=ranks)
    assert [row["step"] for row in untimed_rows(out)] == [3, 3, 5, 5]
    assert [path.name for path in find_checkpoints(out)] == ["checkpoint-5"]
    return Whole(out, events)


@dataclass(frozen=True)
class Place:
    """Where a run is killed, and the step of the newest whole checkpoint that is left."""

    event: str
    count: int
    step: int
    rank: int = 0

    @property
    def kill(self) -> dict[str, Any]:
        return {"event": self.event, "count": self.count, "rank": self.rank}


# In the order in which a run meets them: each is reached by a run that goes on from the one before.
PLACES = {
    "before the directory is recognised": Place("rename config.yaml", 1, 0),
    "before the first checkpoint": Place("step", 4, 0),
    "half the adapter is saved": Place("save adapter_model.safetensors", 1, 0),
    "half the random state is saved": Place("save rng_state.pth", 1, 0),
    "while files are flushed": Place("flush", 9, 0),
    "a checkpoint is complete and has no name": Place("rename checkpoint-2", 1, 0),
    "after a checkpoint, during an evaluation": Place("evaluate", 2, 2),
    "before a log line": Place("log", 1, 2),
    "half the old checkpoint is deleted": Place("delete checkpoint-2.old", 1, 4),
    "the same at the last step": Place("delete checkpoint-4.old", 1, 5),
    "half the final weights are saved": Place("save adapter_model.safetensors", 1, 5),
    "half the final files are there": Place("rename tokenizer.json", 1, 5),
}
# The same with two ranks, where the second may be the one that dies, and the first with it.
PLACES_OF_TWO = {
    "the second in the first step": Place("step", 1, 0, rank=1),
    "half the second's random state is saved": Place("save rng_state_1.pth", 1, 0, rank=1),
    "the second waits for the name": Place("rename checkpoint-2", 1, 0),
    "the second evaluates": Place("evaluate", 1, 2, rank=1),
    "half the old checkpoint is deleted": Place("delete checkpoint-2.old", 1, 4),
    "half the final weights are saved": Place("save adapter_model.safetensors", 2, 5),
}


def kill_everywhere(forge: Forge, config: Path, whole: Whole, places: dict[str, Place]) -> None:
    run = config.with_suffix("")
    ranks = max(place.rank for place in places.values()) + 1
    for words, place in places.items():
        forge.kill(config, ranks=ranks, kill=place.kill)
        assert_checkpoints_are_whole(run, whole.path)
        newest = max(map(checkpoint_step, find_checkpoints(run)), default=0)
        assert newest == place.step, words
        assert not (run / "coordexp.json").exists(), words
    forge.finish(config, ranks=ranks)
    assert_same(run, whole.path)


def test_a_run_killed_at_every_stage_ends_in_the_same_bits(
    forge: Forge, alone: Whole, tmp_path: Path
) -> None:
    kill_everywhere(forge, forge.write(tmp_path / "run"), alone, PLACES)


def test_two_ranks_killed_at_every_stage_end_in_the_same_bits(
    forge: Forge, together: Whole, tmp_path: Path
) -> None:
    kill_everywhere(forge, forge.write(tmp_path / "run"), together, PLACES_OF_TWO)


@pytest.mark.parametrize("run", range(RUNS_KILLED_ANYWHERE))
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_killed_anywhere_ends_in_the_same_bits(
    forge: Forge, request: pytest.FixtureRequest, tmp_path: Path, ranks: int, run: int
) -> None:
    whole: Whole = request.getfixturevalue({1: "alone", 2: "together"}[ranks])
    chance = random.Random()
    config = forge.write(tmp_path / "run", training={"dataloader_num_workers": (ranks + run) % 2})
    kills: list[object] = []
    for _ in range(3 if ranks == 1 else 2):
        count = chance.randrange(1, len(whole.events) // 2)
        kill = {"event": "any", "count": count} if len(kills) % 2 else {"seconds": chance.random()}
        kills.append((kill, forge.run(config, ranks=ranks, kill=kill)["codes"]))
    forge.finish(config, ranks=ranks)
    assert_same(tmp_path / "run", whole.path)


def test_a_full_disk_leaves_the_last_checkpoint_to_go_on_from(
    forge: Forge, alone: Whole, tmp_path: Path
) -> None:
    config = forge.write(tmp_path / "run")
    forge.kill(config, ranks=1, kill={"event": "step", "count": 6})
    largest = (alone.path / "checkpoint-5" / "optimizer.pt").stat().st_size
    assert forge.run(config, ranks=1, disk=largest - 1)["codes"] == [1]
    said = errors(config).splitlines()[-1]
    assert "checkpoint-4 cannot be written" in said
    assert "checkpoint-2 is whole" in said
    assert not (tmp_path / "run" / ".partial").exists()
    assert_checkpoints_are_whole(tmp_path / "run", alone.path)
    forge.finish(config, ranks=1)
    assert_same(tmp_path / "run", alone.path)


WHOLE_MODEL: dict[str, dict[str, Any]] = {
    "tuner": {"train_type": "full", "freeze_vit": True},
    "custom": {
        "coord_tokens": {"enabled": True},
        "coord_soft_ce_w1": {"enabled": True},
        "coord_offset": {"enabled": False},
    },
}


def test_a_whole_model_trained_by_epochs_keeps_each_evaluation(
    forge: Forge, tmp_path: Path
) -> None:
    training = {"max_steps": -1, "num_train_epochs": 2.0, "eval_strategy": "epoch"}
    training |= {"save_steps": 3, "optimizer": "multimodal"}  # three steps are an epoch
    whole = forge.write(tmp_path / "whole", **WHOLE_MODEL, training=training)
    forge.finish(whole, ranks=1)
    config = forge.write(tmp_path / "run", **WHOLE_MODEL, training=training)
    forge.kill(config, ranks=1, kill={"event": "evaluate", "count": 1})
    assert find_checkpoints(tmp_path / "run") == []
    forge.kill(config, ranks=1, kill={"event": "step", "count": 7})
    assert [path.name for path in find_checkpoints(tmp_path / "run")] == ["checkpoint-3"]
    forge.finish(config, ranks=1)
    assert_same(tmp_path / "run", tmp_path / "whole")
    evaluated = [row["step"] for row in untimed_rows(tmp_path / "run") if "eval_loss" in row]
    assert evaluated == [3, 6]


# What is saved of a mixture's experts is not one tensor for each layer.
EXPERTS = {name: {"train_experts": True, "lora_dropout": 0.0} for name in TINY_MIXTURES}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[] if name == "qwen2_5_vl" else [pytest.mark.long])
        for name in TINY_BASES
        if name != DEFAULT_FAMILY
    ],
)
def test_a_run_of_another_family_ends_in_the_same_bits_too(
    forge: Forge, other_families: dict[str, Path], family: str, tmp_path: Path
) -> None:
    tuner = {"lora_dropout": 0.1, "target_modules": "all-linear", **EXPERTS.get(family, {})}
    changes: dict[str, dict[str, Any]] = {
        "model": {"path": str(other_families[family]), "dtype": "float32"},
        "tuner": tuner,
        "training": {"max_steps": 3},
    }
    forge.finish(forge.write(tmp_path / "whole", **changes), ranks=1)
    config = forge.write(tmp_path / "run", **changes)
    forge.kill(config, ranks=1, kill={"event": "step", "count": 5})
    assert [path.name for path in find_checkpoints(tmp_path / "run")] == ["checkpoint-2"]
    forge.finish(config, ranks=1)
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_the_command_is_killed_and_given_again(forge: Forge, alone: Whole, tmp_path: Path) -> None:
    config = forge.write(tmp_path / "run")
    command = [sys.executable, "-m", "coordexp", "train", "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as first:
        while first.poll() is None and not find_checkpoints(tmp_path / "run"):
            time.sleep(0.005)
        first.kill()
    assert first.returncode == -9
    again = CliRunner().invoke(app, command[3:])
    assert again.exit_code == 0, again.stderr
    assert again.stdout.splitlines()[-1] == f"checkpoint: {tmp_path / 'run'}"
    assert f"{tmp_path / 'run'}: going on from step " in again.stderr
    assert_same(tmp_path / "run", alone.path)
    third = CliRunner().invoke(app, command[3:])
    assert third.exit_code == 0
    assert "this run is finished; nothing to do" in third.stderr
    assert_same(tmp_path / "run", alone.path)
