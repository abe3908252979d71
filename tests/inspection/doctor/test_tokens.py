"""Faults planted in templates, labels, tokens and pictures."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.inspection.doctor.boxes import boxes_there_and_back, pictures
from coordexp.inspection.doctor.doctor import CHECKS, found_by
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.tokens import Looks, Token, TokenView, label_fault, template
from coordexp.inspection.doctor.verdict import CheckResult, Diagnosis, Pieces
from coordexp.inspection.doctor.vocabulary import CheckedBase, KnownVocab
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from tests.inspection.conftest import MakeRun

pytestmark = pytest.mark.slow  # the healthy run is looked at first


def look(name: str, pieces: Pieces) -> CheckResult:
    return found_by(next(check for check in CHECKS if check.name == name), pieces)


def looked_at(
    make_run: MakeRun, healthy: Diagnosis, train: Path, **data: object
) -> tuple[Pieces, CheckResult]:
    """The pieces of a run on other records, up to their labels."""
    config = make_run(data={"train": str(train), **data})
    pieces = Pieces(config, healthy.pieces.take(KnownVocab), healthy.pieces.take(CheckedBase))
    for name in ("template", "records", "lengths"):
        assert look(name, pieces).verdict == "green"
    return pieces, look("labels", pieces)


def write_record(folder: Path, item: dict[str, object], *, size: tuple[int, int]) -> Path:
    Image.new("RGB", size).save(folder / "a.png")
    row = {"images": ["a.png"], "width": size[0], "height": size[1], "objects": [item]}
    path = folder / "one.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


def test_an_example_is_shown_token_by_token(healthy: Diagnosis) -> None:
    transcript = healthy.pieces.take(Looks).transcript
    assert transcript[0] == Token("prompt", "<|im_start|>", 1)
    assert Token("picture", "<|image_pad|>", 64) in transcript
    assert transcript[-1] == Token("end", "<|im_end|>", 1)
    first = healthy.pieces.take(Looks).examples[0]
    coords = [token.text for token in transcript if token.kind == "coord"]
    assert len(coords) == 4 * len(first.record.objects)
    assert set(coords) <= set(SPEC_ALPHABET.tokens())
    answer = "".join(token.text for token in transcript if token.kind in ("text", "coord"))
    assert json.loads(answer)["object_1"]["bbox_2d"] == coords[:4]
    assert sum(token.times for token in transcript) == len(first.input_ids)


def planted(first: TokenView, labels: Sequence[int]) -> TokenView:
    return replace(first, labels=labels)


def test_labels_that_are_not_the_answer_alone_are_found(healthy: Diagnosis) -> None:
    encoder, dataset = healthy.pieces.take(Encoder), healthy.pieces.take(Feeds).dataset
    first = healthy.pieces.take(Looks).examples[0]
    labels, ids = list(first.labels), list(first.input_ids)
    assert label_fault(first, encoder, dataset) is None
    faults = {
        "nothing": [IGNORE_INDEX] * len(labels),
        "not the tokens of the answer": [*labels[:-1], labels[-2]],
        "read back as": ids,  # the prompt is learned as well
    }
    for words, wrong in faults.items():
        assert words in str(label_fault(planted(first, wrong), encoder, dataset))
    endless = replace(first, labels=labels[:-1], input_ids=ids[:-1])
    assert "generation would not stop" in str(label_fault(endless, encoder, dataset))


def test_a_label_fault_is_red_and_names_the_record(
    healthy: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = healthy.pieces.take(Encoder)
    monkeypatch.setattr(encoder, "end_of_turn_id", -1)
    pieces = Pieces(healthy.pieces.take(Feeds), encoder, healthy.pieces.take(KnownVocab))
    found = look("labels", pieces)
    assert found.verdict == "red"
    assert "train.jsonl:1: the end of the answer is not learned" in found.found
    assert look("pictures", pieces).found == "not looked at, because of: labels"


def test_a_template_that_thinks_first_is_found(
    make_run: MakeRun, tiny_expanded: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_expanded, tmp_path, dirs_exist_ok=True)
    chat = tmp_path / "chat_template.jinja"
    chat.write_text(chat.read_text().replace("assistant\\n' }}", "assistant\\n<think>' }}"))
    pieces = Pieces(make_run(model={"path": str(tmp_path)}))
    look("base", pieces)
    found = look("template", pieces)
    assert found.verdict == "red"
    assert "instruct template" in found.found


def test_a_tokenizer_without_padding_is_found(
    make_run: MakeRun, tiny_expanded: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_expanded, tmp_path, dirs_exist_ok=True)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["pad_token"] = None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    pieces = Pieces(make_run(model={"path": str(tmp_path)}))
    look("base", pieces)
    found = template(pieces)
    assert (found.verdict, found.found) == ("red", "the tokenizer has no pad token")


def test_tokens_that_were_rounded_down_are_found(
    make_run: MakeRun, healthy: Diagnosis, tmp_path: Path
) -> None:
    # 65 of 128 pixels is bin 507.3, 70 is 546.3, 100 is 780.5, 127 is 991.2
    exact = [65, 70, 100, 127]
    tokens = [f"<|coord_{int(value * 999 / 128)}|>" for value in exact]
    item = {"desc": "cat", "bbox_2d": tokens, "bbox_2d_px": exact}
    pieces, labels = looked_at(make_run, healthy, write_record(tmp_path, item, size=(128, 128)))
    assert labels.verdict == "green"
    found = boxes_there_and_back(pieces)
    assert found.verdict == "green"  # 0.47 bins: all of them happen to be near

    item = {"desc": "cat", "bbox_2d": tokens, "bbox_2d_px": [65, 70, 100.05, 127]}
    pieces, _ = looked_at(make_run, healthy, write_record(tmp_path, item, size=(128, 128)))
    found = boxes_there_and_back(pieces)
    assert found.verdict == "yellow"  # 100.05 is bin 780.9, written as 780
    assert "not the nearest bins" in found.advice


def test_labels_that_spell_other_boxes_are_found(healthy: Diagnosis) -> None:
    vocab = healthy.pieces.take(KnownVocab).vocab
    assert vocab is not None
    first = healthy.pieces.take(Looks).examples[0]
    moved = [k + 2 if k in range(vocab.ids.start, vocab.ids.stop - 2) else k for k in first.labels]
    looks = Looks([planted(first, moved)], "", [])
    pieces = Pieces(healthy.pieces.take(Feeds), healthy.pieces.take(Encoder), looks)
    found = boxes_there_and_back(pieces)
    assert found.verdict == "red"
    assert "not those of the annotation" in found.advice


def test_objects_that_vanish_between_two_bins_are_found(
    make_run: MakeRun, healthy: Diagnosis, tmp_path: Path
) -> None:
    item = {"desc": "pole", "bbox_2d": [3.0, 4, 3.05, 90]}
    pieces, _ = looked_at(make_run, healthy, write_record(tmp_path, item, size=(128, 128)))
    found = boxes_there_and_back(pieces)
    assert (found.verdict, "that thin" in found.advice) == ("yellow", True)


def test_records_in_tokens_alone_leave_nothing_to_compare(
    make_run: MakeRun, healthy: Diagnosis, tmp_path: Path
) -> None:
    item = {"desc": "cat", "bbox_2d": [f"<|coord_{k}|>" for k in (1, 2, 30, 40)]}
    pieces, _ = looked_at(make_run, healthy, write_record(tmp_path, item, size=(128, 128)))
    found = boxes_there_and_back(pieces)
    assert (found.verdict, "not kept" in found.found) == ("green", True)


def test_pictures_that_are_shrunk_or_blown_up_are_pointed_out(
    make_run: MakeRun, healthy: Diagnosis, scenes: Path
) -> None:
    small, _ = looked_at(make_run, healthy, scenes, max_pixels=1024)
    found = pictures(small)
    assert (found.verdict, "data.max_pixels" in found.advice) == ("yellow", True)
    assert found.sheets[0].rows[0][1:5] == ("128 x 128", "32 x 32", "4 x 4", "4")
    area = 128 * 128
    large, _ = looked_at(make_run, healthy, scenes, min_pixels=5 * area, max_pixels=6 * area)
    assert pictures(large).advice == "lower data.min_pixels"


def test_a_picture_that_is_too_thin_is_found(
    make_run: MakeRun, healthy: Diagnosis, tmp_path: Path
) -> None:
    train = write_record(tmp_path, {"desc": "a", "bbox_2d": [0, 0, 1, 1]}, size=(900, 2))
    pieces = Pieces(make_run(data={"train": str(train)}), healthy.pieces.take(Encoder))
    found = look("records", pieces)
    assert (found.verdict, "one.jsonl:1" in found.found) == ("red", True)
