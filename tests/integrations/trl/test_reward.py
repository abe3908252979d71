"""What TRL gets from us, without TRL."""

from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import InputError
from coordexp.integrations.trl.reward import AnswerReward
from coordexp.integrations.trl.rows import record_rows, row_picture, rows_to_records
from coordexp.rendering.encode import IGNORE_INDEX, Encoder


def answer_ids(encoder: Encoder, record: Record) -> list[int]:
    """Return the true answer as a model would say it, with the end of its turn."""
    picture = Image.new("RGB", (record.width, record.height))
    labels = encoder.encode(record, picture, seed=0, epoch=0, index=0).labels
    return [int(label) for label in labels if label != IGNORE_INDEX]


def test_records_come_back_out_of_their_rows(encoder: Encoder, scenes: Path) -> None:
    records = RecordFile(scenes, SPEC_ALPHABET)
    rows = list(record_rows(records, encoder.style))
    assert rows_to_records([row["record"] for row in rows], SPEC_ALPHABET) == list(records)
    assert {row["prompt"] for row in rows} == {"Find every digit."}
    assert row_picture(rows[0], records[0]).size == records[0].file_size


def test_a_true_answer_is_worth_1_and_every_term_is_logged(encoder: Encoder, scenes: Path) -> None:
    records = RecordFile(scenes, SPEC_ALPHABET)
    rows = list(record_rows(records, encoder.style))[:2]
    reward = AnswerReward(encoder, weights={"nearness": 0.5, "form": 0.5}, longest=30)
    logged: dict[str, float] = {}
    worth = reward(
        prompts=[row["prompt"] for row in rows],
        completions=["coord tokens are left out of this text"] * 2,
        completion_ids=[answer_ids(encoder, records[0]), [encoder.end_of_turn_id]],
        record=[row["record"] for row in rows],
        log_metric=logged.__setitem__,
    )
    assert worth[0] == pytest.approx(1.0, abs=0.03)  # a box is right to half a bin
    assert worth[1] == 0.0
    assert logged["reward/form"] == 0.5
    assert logged.keys() == {"reward/nearness", "reward/form"}


def test_what_no_term_says_anything_about_is_worth_nothing_said(
    encoder: Encoder, scenes: Path
) -> None:
    row = next(record_rows(RecordFile(scenes, SPEC_ALPHABET), encoder.style))
    reward = AnswerReward(encoder, weights={"outlines": 1.0}, longest=30)
    logged: dict[str, float] = {}
    ids = [[encoder.end_of_turn_id]]
    assert reward(completion_ids=ids, record=[row["record"]], log_metric=logged.__setitem__) == [
        None
    ]
    assert logged == {}


def test_an_unknown_term_is_refused_before_anything_is_loaded(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="no term 'f1'"):
        AnswerReward(encoder, weights={"f1": 1.0}, longest=30)
