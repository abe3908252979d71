"""Every bad input: exit code 2, one message on standard error, nothing half-written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from coordexp.cli.app import app

COMMANDS = (
    (),
    ("quickstart",),
    ("train",),
    ("doctor",),
    ("plan",),
    ("merge",),
    ("predict",),
    ("evaluate",),
    ("vocab",),
    ("vocab", "expand"),
    ("vocab", "fit"),
    ("vocab", "graft"),
    ("lab",),
    ("lab", "run"),
    ("lab", "report"),
    ("data",),
    ("data", "convert"),
    ("data", "split"),
    ("data", "prepare"),
    ("data", "view"),
    ("data", "stats"),
    ("data", "check"),
    ("data", "export"),
)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def run(*arguments: str | Path) -> Ended:
    """Run the command line in this process; an exception that it lets through fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def run_process(*arguments: str | Path) -> Ended:
    command = [sys.executable, "-m", "coordexp", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def assert_refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert ended.out == ""
    for word in words:
        assert word in ended.err


@dataclass(frozen=True)
class Workbench:
    """A run that would work, to be spoiled in one place."""

    folder: Path
    settings: dict[str, dict[str, object]]

    @property
    def config(self) -> Path:
        return self.folder / "run.yaml"

    @property
    def records(self) -> Path:
        return self.folder / "data" / "train.jsonl"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write_config(self, **blocks: dict[str, object]) -> Path:
        merged = {name: {**block, **blocks.get(name, {})} for name, block in self.settings.items()}
        self.config.write_text(yaml.safe_dump(merged))
        return self.config

    def spoil_record(self, change: Callable[[dict[str, object]], None]) -> None:
        """Change the second record."""
        lines = self.records.read_text().splitlines()
        row = json.loads(lines[1])
        change(row)
        lines[1] = json.dumps(row)
        self.records.write_text("\n".join(lines) + "\n")


@pytest.fixture
def bench(scenes: Path, tiny_expanded: Path, tmp_path: Path) -> Workbench:
    shutil.copytree(scenes.parent, tmp_path / "data")
    settings: dict[str, dict[str, object]] = {
        "model": {"path": str(tiny_expanded)},
        "training": {"output_dir": str(tmp_path / "out"), "use_cpu": True},
        "data": {"train": str(tmp_path / "data" / "train.jsonl")},
        "custom": {"coord_tokens": {"enabled": True}, "coord_soft_ce_w1": {"enabled": True}},
    }
    bench = Workbench(tmp_path, settings)
    bench.write_config()
    return bench


YAML_FAULTS = {
    "malformed": ("model: [", ["run.yaml:1: not valid YAML"]),
    "no mapping": ("just words", ["run.yaml"]),
    "empty": ("", ["run.yaml"]),
    "duplicate key": ("model: {path: a}\nmodel: {path: b}\n", ["duplicate key 'model'", ":2"]),
    "unknown key": ("modle: {path: a}\n", ["modle: unknown key; did you mean 'model'?"]),
    "removed key": (
        "custom: {coord_loss: {enabled: true}}\n",
        ["custom.coord_loss: removed key", "custom.coord_soft_ce_w1"],
    ),
    "extends loop": ("extends: run.yaml\n", ["extends loop: run.yaml -> run.yaml"]),
    "extends nothing": ("extends: nothing.yaml\n", ["nothing.yaml"]),
}


@pytest.mark.parametrize("name", YAML_FAULTS)
def test_a_bad_configuration_is_refused(bench: Workbench, name: str) -> None:
    text, words = YAML_FAULTS[name]
    bench.config.write_text(text)
    assert_refused(run("train", "--config", bench.config), *words)
    assert not bench.out.exists()


def test_a_missing_configuration_is_refused(bench: Workbench) -> None:
    assert_refused(run("train", "--config", bench.folder / "none.yaml"), "none.yaml")
    assert_refused(run("train", "--config", bench.folder), str(bench.folder))


def test_all_problems_of_a_configuration_come_at_once(bench: Workbench) -> None:
    bench.write_config(training={"learning_rate": -1, "lerning_rate": 1.0})
    ended = run("train", "--config", bench.config)
    assert_refused(ended, "run.yaml: 2 problem(s)", "did you mean 'learning_rate'?")


Row = dict[str, object]


def first_object(row: Row) -> Row:
    objects = row["objects"]
    assert isinstance(objects, list)
    found: Row = objects[0]
    return found


RECORD_FAULTS: dict[str, tuple[Callable[[Row], object], Sequence[str]]] = {
    "two geometries": (
        lambda row: first_object(row).update(poly=[0, 0, 9, 0, 9, 9]),
        ["objects[0]", "bbox_2d and poly"],
    ),
    "bin 1000": (
        lambda row: first_object(row).update(bbox_2d=[f"<|coord_{k}|>" for k in (1, 2, 3, 1000)]),
        ["objects[0]", "1000"],
    ),
    "pixels and tokens": (
        lambda row: first_object(row).update(bbox_2d=[1, 2, "<|coord_300|>", 40]),
        ["objects[0]", "bbox_2d"],
    ),
    "odd polygon": (
        lambda row: (
            first_object(row).pop("bbox_2d"),
            first_object(row).update(poly=[0, 0, 9, 0, 9, 9, 3]),
        ),
        ["objects[0]", "poly"],
    ),
    "empty desc": (lambda row: first_object(row).update(desc=" "), ["objects[0]", "desc"]),
    "not finite": (
        lambda row: first_object(row).update(bbox_2d=[1, 2, float("nan"), 40]),
        ["objects[0]", "NaN"],
    ),
    "outside the image": (
        lambda row: first_object(row).update(bbox_2d=[1, 2, 3, 4000]),
        ["objects[0]", "4000"],
    ),
    "climbing path": (lambda row: row.update(images=["../../etc/passwd"]), ["images"]),
    "missing image": (lambda row: row.update(images=["images/none.png"]), ["there is no file"]),
    "another size": (lambda row: row.update(width=129), ["128x128 pixels", "129x128"]),
}


@pytest.mark.parametrize("name", RECORD_FAULTS)
def test_a_bad_record_is_refused(bench: Workbench, name: str) -> None:
    change, words = RECORD_FAULTS[name]
    bench.spoil_record(lambda row: change(row) and None)
    assert_refused(run("train", "--config", bench.config), "train.jsonl:2: ", *words)
    assert not bench.out.exists()


def test_a_line_that_is_not_json_is_refused(bench: Workbench) -> None:
    bench.records.write_text(bench.records.read_text() + '{"images": [}\n')
    assert_refused(run("train", "--config", bench.config), "train.jsonl:7: not JSON")
    assert not bench.out.exists()


def test_a_truncated_image_is_refused(bench: Workbench) -> None:
    picture = (
        bench.records.parent / json.loads(bench.records.read_text().splitlines()[3])["images"][0]
    )
    picture.write_bytes(picture.read_bytes()[:-100])
    ended = run("train", "--config", bench.config)
    assert_refused(ended, "train.jsonl:4: ", "cannot be read as a picture")
    assert not bench.out.exists()


@pytest.mark.parametrize("block", ["data", "model"])
def test_a_missing_file_is_refused(bench: Workbench, block: str) -> None:
    key = "train" if block == "data" else "path"
    bench.write_config(**{block: {key: str(bench.folder / "none")}})
    assert_refused(run("train", "--config", bench.config), str(bench.folder / "none"))
    assert not bench.out.exists()


def test_a_checkpoint_without_coord_tokens_is_refused(bench: Workbench, tiny_base: Path) -> None:
    bench.write_config(model={"path": str(tiny_base)})
    ended = run("train", "--config", bench.config)
    assert_refused(ended, str(tiny_base), "coordexp vocab expand")
    assert not bench.out.exists()


def test_expanding_twice_is_refused(bench: Workbench, tiny_expanded: Path) -> None:
    assert_refused(run("vocab", "expand", tiny_expanded, bench.out), "coord tokens already")
    assert not bench.out.exists()


def test_a_base_is_not_fetched_for_a_place_that_is_taken(bench: Workbench) -> None:
    taken = bench.out / "mine"
    taken.mkdir(parents=True)
    ended = run("vocab", "expand", "Owner/Name", bench.out)
    assert_refused(ended, str(bench.out), "exists already")
    assert list(bench.out.iterdir()) == [taken]


def test_merging_what_is_no_checkpoint_is_refused(bench: Workbench, tiny_base: Path) -> None:
    assert_refused(run("merge", tiny_base, bench.out), "there is nothing to merge")
    assert_refused(run("merge", bench.folder / "none", bench.out), "none")
    assert not bench.out.exists()


def test_predicting_with_what_is_no_model_is_refused(bench: Workbench, tiny_expanded: Path) -> None:
    ended = run("predict", "--model", tiny_expanded, "--data", bench.records, "--out", bench.out)
    assert_refused(ended, "no coordexp.json")
    assert not bench.out.exists()


def test_evaluating_what_is_no_predictions_file_is_refused(bench: Workbench) -> None:
    assert_refused(run("evaluate", bench.records, "--out", bench.out), "train.jsonl:1: ")
    assert_refused(run("evaluate", bench.folder / "none", "--out", bench.out), "none")
    assert not bench.out.exists()


def test_preparing_a_bad_record_is_refused(bench: Workbench) -> None:
    bench.spoil_record(lambda row: row.update(width=0))
    prepared = bench.records.parent / "prepared.jsonl"
    assert_refused(run("data", "prepare", bench.records, prepared), "train.jsonl:2: ")
    assert not prepared.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    ended = run(*command, "--help")
    assert ended.code == 0
    assert ended.out.startswith("Usage: ")
    for line in ended.out.splitlines()[1:]:
        assert not line.rstrip().endswith("..."), line


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("train", "--nonsense"),
        ("train",),
        ("train", "--config"),
        ("merge", "one"),
        ("predict", "--model", "m", "--data", "d", "--out", "o", "--batch-size", "0"),
        ("vocab", "expand", "a", "b", "--init", "nonsense"),
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert "Error: " in ended.err
    assert "Traceback" not in ended.err


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("coordexp.data.prepare.prepare.prepare_file", fail)


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    ended = run("data", "prepare", "a", "b")
    assert (ended.code, ended.err) == (130, "interrupted\n")


def test_a_full_disk_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(OSError(28, "No space left on device"), monkeypatch)
    ended = run("data", "prepare", "a", "b")
    assert (ended.code, ended.err) == (1, "error: No space left on device\n")


def test_a_path_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(PermissionError(13, "Permission denied", "/root/out"), monkeypatch)
    ended = run("data", "prepare", "a", "b")
    assert (ended.code, ended.err) == (1, "error: /root/out: Permission denied\n")


@pytest.mark.parametrize("error", [OSError("odd"), ZeroDivisionError()])
def test_a_bug_of_ours_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_with(error, monkeypatch)
    with pytest.raises(type(error)):
        run("data", "prepare", "a", "b")


def test_an_output_below_a_file_is_said_in_words(bench: Workbench) -> None:
    (bench.folder / "file").touch()
    below = bench.folder / "file" / "out"
    bench.write_config(training={"output_dir": str(below), "use_cpu": True})
    ended = run("train", "--config", bench.config)
    assert ended.code in {1, 2}
    assert "file is a file" in ended.err


@pytest.mark.slow
def test_the_process_ends_as_documented(bench: Workbench) -> None:
    bench.spoil_record(lambda row: first_object(row).update(desc=""))
    assert_refused(run_process("train", "--config", bench.config), "train.jsonl:2: objects[0]: ")
    assert not bench.out.exists()
    assert run_process("nonsense").code == 2


def test_help_imports_nothing_heavy() -> None:
    script = """
import sys
from coordexp.cli.app import app
for command in ({commands}):
    try:
        app([*command, "--help"])
    except SystemExit as end:
        assert end.code == 0
heavy = {{"torch", "transformers", "peft", "numpy", "PIL", "yaml"}} & set(sys.modules)
assert not heavy, heavy
"""
    commands = ", ".join(str(list(command)) for command in COMMANDS)
    done = subprocess.run(
        [sys.executable, "-c", script.format(commands=commands)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_normal_run_says_only_what_it_did(bench: Workbench) -> None:
    """The whole way of an adapter, without a word from the libraries below."""
    bench.write_config(
        model={"path": bench.settings["model"]["path"], "dtype": "float32"},
        training={"max_steps": 1, "report_to": "tensorboard"},
    )
    trained = run_process("train", "--config", bench.config)
    assert (trained.code, trained.out) == (0, f"checkpoint: {bench.out}\n")
    merged = run_process("merge", bench.out, bench.folder / "merged")
    assert merged.code == 0
    assert merged.out.splitlines()[1].startswith("certified on records")
    predictions = bench.folder / "p.jsonl"
    asked = run_process(
        *("predict", "--model", bench.folder / "merged", "--data", bench.records),
        *("--out", predictions, "--max-new-tokens", "4"),
    )
    assert (asked.code, asked.out) == (0, f"{predictions}: 6 predictions\n")
    table = ["group", "vision", "aligner", "language"]
    # How long it is, who learns, and what comes next; no bar where there is no terminal.
    said = {line.split()[0] for line in trained.err.splitlines()}
    assert said == {*table, "1", "report:", "next:"}
    assert merged.err == ""
    assert {line.split()[0] for line in asked.err.splitlines()} == {"predict:"}


def test_the_version_is_told() -> None:
    told = run("--version")
    assert (told.code, told.out) == (0, f"coordexp {metadata.version('coordexp')}\n")
