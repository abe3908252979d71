"""A list of classes filters what the model says; it never turns one thing into another."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coordexp
from coordexp.answers.answer import Answer
from coordexp.answers.class_filter import asked_classes, class_ids
from coordexp.answers.prediction_lines import RowOptions, scored_objects
from coordexp.data.contract.record import Record
from coordexp.errors import InputError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.inference.run import single
from coordexp.inference.run.ask import Ask, AskOptions, EncodedQuestions, Question
from coordexp.inference.run.predict import AnswerFile, Summary, answer_file, predict_file
from coordexp.inference.run.predictor import Predictor
from coordexp.inference.run.ranks import Ranks
from coordexp.rendering.style import RenderingStyle
from tests.inference.integer_answers import integer_answer
from tests.inference.plainly import plainly

MakeStyle = Callable[..., RenderingStyle]
TRAINED = ("eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero")
RECORD = Record(images=("a.png",), width=999, height=999, objects=())


SCENE = integer_answer(("four", 0.8), ("six", 0.7), ("two", 0.6), ("six", 0.1))


def test_a_four_is_never_a_zero(make_style: MakeStyle) -> None:
    style = make_style(coord_tokens=False)
    found = scored_objects(
        RECORD, SCENE, style, RowOptions(classes=("six", "zero")), end_marks=QWEN3_VL.end_marks
    )
    assert [(item.desc, item.parts["desc"]) for item in found.objects] == [
        ("six", pytest.approx(0.7)),
        ("six", pytest.approx(0.1)),
    ]
    assert [drop.reason for drop in found.dropped] == ["not in classes"] * 2
    assert [json.loads(f"{{{drop.text}}}") for drop in found.dropped] == [
        {f"object_{n}": {"desc": desc, "bbox_2d": [n, 20, 300, 400]}}
        for n, desc in ((1, "four"), (3, "two"))
    ]


def test_scores_are_those_without_a_list(make_style: MakeStyle) -> None:
    style = make_style(coord_tokens=False)
    free = scored_objects(RECORD, SCENE, style, RowOptions(), end_marks=QWEN3_VL.end_marks)
    kept = scored_objects(
        RECORD, SCENE, style, RowOptions(classes=("two", "four")), end_marks=QWEN3_VL.end_marks
    )
    assert kept.objects == [item for item in free.objects if item.desc != "six"]
    assert kept.status == free.status == "ok"


def test_what_is_left_out_hides_nothing_that_repeats_it(make_style: MakeStyle) -> None:
    style = make_style(coord_tokens=False)
    options = RowOptions(classes=("six",), dedup_iou=0.9)
    found = scored_objects(RECORD, SCENE, style, options, end_marks=QWEN3_VL.end_marks)
    assert [item.parts["desc"] for item in found.objects] == [pytest.approx(0.7)]
    assert [drop.reason for drop in found.dropped] == ["not in classes"] * 2 + ["repeated"]


def test_a_file_counts_what_it_leaves_out(
    predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    def ask(questions: Sequence[Question]) -> list[Answer]:
        bins = [f'["{"<|coord_5|>"}", "<|coord_6|>", "<|coord_70|>", "<|coord_80|>"]'] * 2
        texts = [
            f'"desc": "{d}", "bbox_2d": {b}' for d, b in zip(("four", "six"), bins, strict=True)
        ]
        text = "{" + ", ".join(f'"object_{n}": {{{t}}}' for n, t in enumerate(texts, 1)) + "}"
        return [Answer(text, (text,), (1.0,), "eos") for _ in questions]

    def answered(name: str, classes: tuple[str, ...] | None) -> Summary:
        return answer_file(
            ask,
            AnswerFile(EncodedQuestions(predictor.encoder), scenes, tmp_path / name, model="m"),
            plainly(batch_size=4, max_new_tokens=9, rows=RowOptions(classes=classes)),
            ranks=Ranks(),
            quiet=True,
        )

    every = answered("every.jsonl", None)
    assert (every.objects, every.not_asked) == (12, 0)
    some = answered("some.jsonl", ("six", "zero"))
    assert (some.lines, some.objects, some.not_asked) == (6, 6, 6)
    row = json.loads((tmp_path / "some.jsonl").read_text("utf-8").splitlines()[0])
    assert [item["desc"] for item in row["pred"]] == ["six"]
    assert "four" in row["raw_text"]


def test_a_model_inside_its_grammar_says_the_same_with_a_list(
    predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    def rows(name: str, classes: tuple[str, ...] | None) -> list[dict[str, list[object]]]:
        options = RowOptions(classes=classes)
        predict_file(
            predictor,
            scenes,
            tmp_path / name,
            plainly(batch_size=6, max_new_tokens=10, rows=options),
        )
        return [json.loads(line) for line in (tmp_path / name).read_text("utf-8").splitlines()]

    free = rows("free.jsonl", None)
    kept = rows("kept.jsonl", ("no such thing",))
    assert [row["raw_text"] for row in kept] == [row["raw_text"] for row in free]
    assert any(row["pred"] for row in free)
    assert not any(row["pred"] for row in kept)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[AskOptions]:
    """Let `coordexp.predict` hear `SCENE`, in coord tokens; return what was asked."""
    asked: list[AskOptions] = []

    def build(_: Predictor, options: AskOptions) -> Ask:
        asked.append(options)
        box = '["<|coord_{}|>", "<|coord_20|>", "<|coord_300|>", "<|coord_400|>"]'
        texts = [
            f'"object_{n}": {{"desc": "{desc}", "bbox_2d": {box.format(n)}}}'
            for n, desc in enumerate(("four", "six", "two", "yak"), start=1)
        ]
        text = "{" + ", ".join(texts) + "}"
        return lambda questions: [Answer(text, (text,), (1.0,), "eos") for _ in questions]

    monkeypatch.setattr(single, "build_ask", build)
    return asked


def with_classes(predictor: Predictor, classes: tuple[str, ...] | None) -> Predictor:
    return Predictor(predictor.model, predictor.encoder, predictor.vocab, predictor.path, classes)


def test_a_class_has_the_same_number_whatever_is_asked_for(
    predictor: Predictor, scripted: list[AskOptions], caplog: pytest.LogCaptureFixture
) -> None:
    trained = with_classes(predictor, TRAINED)
    picture = Image.new("RGB", (64, 64))
    every = coordexp.predict(trained, picture)
    # A yak was never trained: it has the number after the last of the ten.
    assert every.class_id.tolist() == [2, 6, 8, 10]
    assert every.metadata["classes"] == list(TRAINED)
    with caplog.at_level(logging.INFO, logger="coordexp"):
        some = coordexp.predict(trained, picture, classes=["two", "six", "zero"])
    assert some.data["class_name"].tolist() == ["six", "two"]
    assert some.class_id.tolist() == [6, 8]
    assert caplog.messages == ["classes: left out 2 of 4 objects"]
    assert [options.restrict_to for options in scripted] == [None, None]
    coordexp.predict(trained, picture, restrict_to=["six"])
    assert scripted[-1].restrict_to == ("six",)


def test_without_a_trained_list_the_given_one_numbers(
    predictor: Predictor, scripted: list[AskOptions]
) -> None:
    picture = Image.new("RGB", (64, 64))
    assert predictor.classes is None
    assert coordexp.predict(predictor, picture, classes=["two", "six"]).class_id.tolist() == [1, 0]
    restricted = coordexp.predict(predictor, picture, restrict_to=["six", "four"])
    assert restricted.class_id.tolist() == [1, 0, 2, 2]
    found = coordexp.predict(predictor, picture)
    np.testing.assert_array_equal(found.class_id, [0, 0, 0, 0])
    assert found.metadata["classes"] == []
    assert len(scripted) == 3


def test_names_are_read_as_a_model_writes_them() -> None:
    assert asked_classes(["a\u0308ffchen", "\u00e4ffchen", "six"], None) == ("\u00e4ffchen", "six")


def test_a_name_that_was_not_trained_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert asked_classes(["Zero", "yak", "six"], TRAINED) == ("Zero", "yak", "six")
    assert caplog.messages == [
        "classes: 'Zero' is none of the 10 that the model was trained on; did you mean 'zero'?",
        "classes: 'yak' is none of the 10 that the model was trained on",
    ]


@pytest.mark.parametrize("names", [(), ("six", " "), "six"])
def test_a_list_without_names_is_refused(names: Sequence[str]) -> None:
    with pytest.raises(InputError, match="classes: expected"):
        asked_classes(names, None)


def test_numbers_are_places_in_the_list() -> None:
    assert class_ids(["zero", "four", "yak"], TRAINED) == [9, 2, 10]
