"""PaliGemma's 1,024 `<loc0000>` go the whole way, and two alphabets never meet in silence."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from coordexp.answers.parse import parse_prediction
from coordexp.cli.app import app
from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.files.written_alphabet import load_alphabet
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.inference.run.predictor import load_encoder

LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
OPTIONS = ("--alphabet", "<loc{:04d}>", "--bins", "1024")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def expanded(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loc") / "expanded"
    done = run("vocab", "expand", tiny_base, path, *OPTIONS)
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def prepared(scenes: Path) -> Path:
    path = scenes.with_name("loc.jsonl")
    done = run("data", "prepare", scenes, path, *OPTIONS, "--workers", "1")
    assert done.exit_code == 0, done.output
    return path


def configuration(folder: Path, base: Path, records: Path, alphabet: dict[str, object]) -> Path:
    config = {
        "model": {"path": str(base), "dtype": "float32"},
        "tuner": {
            "train_type": "lora",
            "lora_rank": 2,
            "target_modules": ["q_proj", "qkv", "linear_fc1"],
        },
        "training": {
            "output_dir": str(folder / "run"),
            "max_steps": 1,
            "per_device_train_batch_size": 2,
            "learning_rate": 1.0e-3,
            "report_to": "none",
            "use_cpu": True,
            "optimizer": "multimodal_coord_offset",
        },
        "data": {"train": str(records)},
        "custom": {
            "coord_tokens": {"enabled": True, "alphabet": alphabet},
            "coord_soft_ce_w1": {"enabled": True},
            "coord_offset": {"enabled": True},
        },
    }
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_records_are_prepared_and_checked_in_it(prepared: Path) -> None:
    box = json.loads(prepared.read_text().splitlines()[0])["objects"][0]["bbox_2d"]
    assert all(token in LOC.tokens() for token in box)
    assert load_alphabet(prepared) == LOC
    for options in (OPTIONS, ()):  # what is noted beside the records need not be said again
        assert run("data", "check", prepared, *options).exit_code == 0


def test_records_in_it_become_examples_and_answers_in_it_are_read(
    prepared: Path, expanded: Path, tmp_path: Path
) -> None:
    assert run("data", "stats", prepared, "--model", expanded).exit_code == 0
    assert run("data", "view", prepared, "--out", tmp_path / "view.html").exit_code == 0
    assert "loc" in (tmp_path / "view.html").read_text()


@pytest.mark.slow
def test_a_model_is_trained_merged_and_asked_in_it(
    prepared: Path, expanded: Path, tmp_path: Path
) -> None:
    config = configuration(tmp_path, expanded, prepared, {"pattern": LOC.pattern, "bins": 1024})
    done = run("train", "--config", config)
    assert done.exit_code == 0, done.output
    checkpoint, merged = tmp_path / "run" / "checkpoint-1", tmp_path / "merged"
    assert run("merge", checkpoint, merged).exit_code == 0
    out = tmp_path / "predictions.jsonl"
    asked = ("--data", prepared, "--out", out, "--max-new-tokens", "60")
    assert run("predict", "--model", merged, *asked).exit_code == 0
    answers = [json.loads(line)["raw_text"] for line in out.read_text().splitlines()]
    assert "<loc" in "".join(answers)

    encoder, vocab = load_encoder(merged)
    assert vocab is not None
    assert len(vocab.ids) == 1024
    records = RecordFile(prepared, encoder.style.alphabet)
    example = encoder.encode(
        records[0], load_image(records.root, records[0]), seed=0, epoch=0, index=0
    )
    labels = [token for token in example.labels if token >= 0]
    answer = encoder.tokenizer.decode(labels)
    read = parse_prediction(
        answer, alphabet=encoder.style.alphabet, coord_tokens=True, end_marks=QWEN3_VL.end_marks
    )
    assert [item.geometry for item in read.objects] == [o.geometry for o in records[0].objects]

    wrong = run("data", "check", prepared, "--model", merged, "--bins", "1000")
    assert_names_both(wrong)


def assert_names_both(done: Result) -> None:
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    told = " ".join(done.stderr.replace("│", " ").split())
    assert "<loc0000> .. <loc1023>" in told
    assert "<|coord_0|>" in told or "<loc0000> .. <loc0999>" in told


def test_records_in_another_alphabet_are_refused_and_both_are_named(prepared: Path) -> None:
    for options in (
        ("--alphabet", SPEC_ALPHABET.pattern),
        ("--alphabet", LOC.pattern),  # the spelling is right and the bins are not
        ("--bins", "1000"),
    ):
        assert_names_both(run("data", "check", prepared, *options))
        again = prepared.with_name("again.jsonl")
        assert_names_both(run("data", "prepare", prepared, again, *options))
        assert not again.exists()


def test_a_record_that_mixes_two_alphabets_is_refused(prepared: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(prepared.read_text().splitlines()[0].replace("<loc0", "<|coord_", 1) + "\n")
    done = run("data", "check", mixed, "--no-images", *OPTIONS)
    assert done.exit_code == 1
    assert "expected a coord token <loc0000> .. <loc1023>, got '<|coord_" in done.stdout


@pytest.mark.parametrize(
    "alphabet", [{}, {"pattern": LOC.pattern, "bins": 1000}, {"pattern": LOC.pattern, "bins": 1025}]
)
def test_a_run_in_another_alphabet_than_its_base_is_refused(
    alphabet: dict[str, object], scenes: Path, expanded: Path, tmp_path: Path
) -> None:
    done = run("train", "--config", configuration(tmp_path, expanded, scenes, alphabet))
    assert done.exit_code == 2, done.output
    assert "<loc0000> .. <loc1023>" in done.stderr
    expected = {0: "<|coord_0|>", 1000: "<loc0000> .. <loc0999>", 1025: "<loc1024>"}
    assert expected[alphabet.get("bins", 0)] in done.stderr  # type: ignore[index]


def test_a_run_in_another_alphabet_than_its_records_is_refused(
    prepared: Path, tiny_expanded: Path, tmp_path: Path
) -> None:
    assert_names_both(
        run("train", "--config", configuration(tmp_path, tiny_expanded, prepared, {}))
    )


@pytest.mark.parametrize(
    "pattern",
    ["<loc>", "<loc{}{}>", "<loc{.wrong}>", "<loc{a}>", '"{}"', "{:c}", "<loc{:.0s}>", "{"],
)
def test_a_pattern_that_spells_no_alphabet_is_bad_usage(
    pattern: str, scenes: Path, tiny_base: Path, tmp_path: Path
) -> None:
    options = ("--alphabet", pattern)
    for command in (
        ("data", "check", scenes),
        ("data", "prepare", scenes, scenes.with_name("never.jsonl")),
        ("vocab", "expand", tiny_base, tmp_path / "never"),
    ):
        done = run(*command, *options)
        assert (done.exit_code, done.exception.__class__) == (2, SystemExit), done.output
        assert not scenes.with_name("never.jsonl").exists()


def test_another_alphabet_and_no_tokens_are_a_contradiction(
    tiny_base: Path, tmp_path: Path
) -> None:
    done = run("vocab", "expand", tiny_base, tmp_path / "never", "--pad-only", *OPTIONS)
    assert done.exit_code == 2
