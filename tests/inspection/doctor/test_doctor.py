"""The whole examination: a healthy run, and what one fault does to the checks behind it."""

from pathlib import Path

import pytest
import torch

from coordexp.config.schema import Config
from coordexp.inspection.doctor.doctor import CHECKS, examine, found_by
from coordexp.inspection.doctor.learning import Scratch
from coordexp.inspection.doctor.verdict import (
    Check,
    CheckResult,
    Diagnosis,
    Doubt,
    Pieces,
    UnbuiltError,
    judged,
)
from coordexp.inspection.doctor.vocabulary import KnownVocab
from tests.inspection.conftest import MakeRun


@pytest.mark.slow
def test_a_healthy_run_is_green_throughout(healthy: Diagnosis) -> None:
    assert {name: finding.found for name, finding in healthy.findings.items()} == {
        name: finding.found
        for name, finding in healthy.findings.items()
        if finding.verdict == "green"
    }
    assert list(healthy.findings) == [check.name for check in CHECKS]
    assert healthy.exit_code == 0


@pytest.mark.slow
def test_nothing_is_written_where_the_run_will_be(healthy: Diagnosis) -> None:
    assert not healthy.pieces.take(Config).training.output_dir.exists()
    assert not healthy.pieces.take(Scratch).config.training.output_dir.exists()


@pytest.mark.slow
def test_a_base_without_coord_tokens_is_found_and_what_needs_them_says_so(
    make_run: MakeRun, tiny_base: Path
) -> None:
    said: list[str] = []
    diagnosis = examine(make_run(model={"path": str(tiny_base)}), say=said.append)
    ids = diagnosis.findings["tokenizer ids"]
    assert ids.verdict == "red"
    assert "lacks 1000 of 1000 coord tokens" in ids.found
    assert "coordexp vocab expand" in ids.found
    waiting = {
        name: finding.found
        for name, finding in diagnosis.findings.items()
        if finding.found.startswith("not looked at")
    }
    assert waiting["vocabulary rows"] == "not looked at, because of: tokenizer ids"
    assert waiting["gradient"] == "not looked at, because of: loss"
    assert waiting["disk"] == "not looked at, because of: who learns"
    assert diagnosis.findings["records"].verdict == "green"
    assert diagnosis.exit_code == 1
    assert said == [check.name for check in CHECKS]


OFF = {"enabled": False}
OTHER_RUNS: dict[str, dict[str, dict[str, object]]] = {
    "packed, with DoRA and two tables, recomputing": {
        "tuner": {"use_dora": True, "lora_dropout": 0.1},
        "custom": {"coord_offset": {"enabled": True, "tie_head": False}},
        "training": {
            "packing": True,
            "global_max_length": 400,
            "per_device_train_batch_size": 1,
            "per_device_eval_batch_size": 1,
            "gradient_checkpointing": True,
            "bf16": True,
        },
    },
    "plain integers, the whole model": {
        "tuner": {"train_type": "full"},
        "custom": {"coord_tokens": OFF, "coord_soft_ce_w1": OFF, "coord_offset": OFF},
        "training": {"optimizer": "multimodal", "learning_rate": 1e-4},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", OTHER_RUNS.values(), ids=OTHER_RUNS.keys())
def test_other_runs_are_healthy_too(
    make_run: MakeRun, changes: dict[str, dict[str, object]]
) -> None:
    findings = examine(make_run(**changes)).findings
    ill = {name: told.found for name, told in findings.items() if told.verdict != "green"}
    assert set(ill) <= {"tying"}, ill  # two tables on a tied base: yellow
    assert findings["tying"].verdict != "red"


def test_a_missing_piece_names_the_check_that_makes_it() -> None:
    with pytest.raises(UnbuiltError, match="Config"):
        Pieces().take(Config)
    pieces = Pieces()

    def needs_vocab(pieces: Pieces) -> CheckResult:
        pieces.take(KnownVocab)
        return CheckResult("green", "")

    found = found_by(Check("rows", needs_vocab), pieces)
    assert found.verdict == "yellow"
    assert found.found == "not looked at, because of: tokenizer ids"


def test_a_device_that_runs_full_is_a_finding() -> None:
    def too_large(_: Pieces) -> CheckResult:
        raise torch.OutOfMemoryError("CUDA out of memory")

    found = found_by(Check("loss", too_large), Pieces())
    assert (found.verdict, "gradient_checkpointing" in found.advice) == ("red", True)


def test_the_first_doubt_that_holds_decides() -> None:
    doubts = [
        Doubt(holds=False, verdict="red", words="no", advice="none"),
        Doubt(holds=True, verdict="yellow", words="thin", advice="eat"),
        Doubt(holds=True, verdict="red", words="late", advice="run"),
    ]
    assert judged("found", doubts) == CheckResult("yellow", "found; thin", "eat")
    assert judged("found", doubts[:1]) == CheckResult("green", "found")


def test_yellow_alone_ends_with_0() -> None:
    assert Diagnosis({"a": CheckResult("yellow", "")}).exit_code == 0
    assert Diagnosis({"a": CheckResult("yellow", ""), "b": CheckResult("red", "")}).exit_code == 1
