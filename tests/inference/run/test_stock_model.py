"""A checkpoint that knows nothing of us, asked and read in its family's own words."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import coordexp
from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import RowOptions, prediction_row
from coordexp.cli.app import app
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record
from coordexp.data.files.category_ids import save_category_ids
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CheckpointError
from coordexp.inference.run import single, stock_model
from coordexp.inference.run.ask import AskOptions, Question, build_ask
from coordexp.inference.run.predictor import Predictor, load_predictor, load_style
from coordexp.inference.run.stock_model import classes_to_ask, is_stock
from tests.families.tiny_models import TINY_BASES, with_patience


@pytest.fixture(scope="module", params=with_patience(TINY_BASES))
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base of each family, as published."""
    path = tmp_path_factory.mktemp("stock") / request.param
    TINY_BASES[request.param](path)
    return path


@pytest.fixture(scope="module")
def asking(stock: Path) -> Predictor:
    return load_predictor(stock, classes=["cat", "dog"])


def said(text: str) -> Answer:
    return Answer(
        text=text, pieces=tuple(text), probabilities=(0.5,) * len(text), finish_reason="eos"
    )


@pytest.mark.slow
def test_it_writes_the_file_that_evaluation_compares(
    stock: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are random, so one is put into its mouth that finds the first object."""
    truth = RecordFile(scenes, SPEC_ALPHABET)[0]
    stated = load_style(stock).stock
    assert stated is not None
    whole = stated.boxes.steps or 140  # of 128 pixels: the next multiple of a cell of 28
    first = truth.objects[0]
    box = [
        round(value * whole / 128) for value in first.geometry.to_pixels(128, 128, SPEC_ALPHABET)
    ]
    text = "```json\n" + json.dumps([{"bbox_2d": box, "label": first.desc}]) + "\n```"

    def put(questions: list[Question]) -> list[Answer]:
        return [said(text) for _ in questions]

    monkeypatch.setattr("coordexp.inference.run.predict.build_ask", lambda *_: put)
    out = tmp_path / "stock.jsonl"
    asked = ["predict", "--model", stock, "--data", scenes, "--out", out]
    done = CliRunner().invoke(app, list(map(str, asked)))
    assert done.exit_code == 0, done.output
    row = json.loads(out.read_text().splitlines()[0])
    assert row["parse"] == {"status": "ok", "dropped": []}
    (found,) = row["pred"]
    assert found["bbox_2d"] == pytest.approx(row["gt"][0]["bbox_2d"], abs=0.6)
    assert found["score_parts"].keys() == {"coord", "desc", "another"}
    tuned = shutil.copy(out, tmp_path / "tuned.jsonl")
    compared = ["evaluate", tuned, "--out", tmp_path / "out", "--compare", out]
    done = CliRunner().invoke(app, list(map(str, compared)))
    assert done.exit_code == 0, done.output
    assert "AP +0.000" in done.output


def test_it_is_asked_for_the_classes_of_the_data(
    stock: Path, scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = sorted(
        {item.desc for record in RecordFile(scenes, SPEC_ALPHABET) for item in record.objects}
    )
    with caplog.at_level(logging.WARNING):
        assert classes_to_ask(stock, scenes, None) == names
    assert f"{stock}: no coordexp.json, so it is asked as a stock model: " in caplog.text
    assert ", ".join(names) in caplog.text
    assert classes_to_ask(stock, scenes, ("yak",)) == ("yak",)
    assert classes_to_ask(stock, scenes.parent, None) == ()  # a folder of pictures
    copied = tmp_path / "records.jsonl"
    copied.write_text(scenes.read_text())
    save_category_ids(copied, {"zebra": 2, "ant": 1})
    assert classes_to_ask(stock, copied, None) == ["zebra", "ant"]


def test_of_very_many_classes_none_is_named(
    stock: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_model, "MOST_NAMED", 2)
    assert classes_to_ask(stock, scenes, None) == ()
    assert classes_to_ask(stock, scenes, ("a", "b", "c")) == ("a", "b", "c")


def test_it_is_asked_in_its_family_s_words(asking: Predictor) -> None:
    style = asking.style
    assert style.stock is not None
    assert style.user_prompt == style.stock.boxes.ask(["cat", "dog"])
    assert "cat, dog" in asking.encoder.conversation.prompt(style.user_prompt)
    assert (asking.vocab, asking.classes, style.coord_tokens) == (None, None, False)


def test_it_answers_freely(asking: Predictor, scenes: Path) -> None:
    record = RecordFile(scenes, SPEC_ALPHABET)[0]
    picture = single._opened(scenes.parent / record.image, None)[1]
    question = Question(asking.encoder.encode_prompt(record, picture), picture)
    options = AskOptions(constrain=True, restrict_to=None, max_new_tokens=5)
    (answer,) = build_ask(asking, options)([question])
    marks = asking.encoder.inputs.family.end_marks
    row = prediction_row(record, answer, asking.style, ".", RowOptions(), end_marks=marks)
    assert row["raw_text"] == answer.text


def test_one_picture_can_be_asked_about(
    asking: Predictor, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = scenes.parent / RecordFile(scenes, SPEC_ALPHABET)[0].image
    asked: list[Record] = []

    def opened(image: Path, prompt: str | None) -> object:
        asked.append(real(image, prompt)[0])
        return real(image, prompt)

    real = single._opened
    monkeypatch.setattr(single, "_opened", opened)
    monkeypatch.setattr(single, "_LONGEST_ANSWER", 3)
    assert asking.style.stock is not None
    found = coordexp.predict(asking, picture, classes=["six"])
    assert len(found) == 0
    coordexp.predict(asking, picture, prompt="Where?")
    assert [record.prompt for record in asked] == [
        asking.style.stock.boxes.ask(["six"]),
        "Where?",
    ]


def test_a_model_that_was_trained_here_and_lost_its_card_is_refused(tiny_expanded: Path) -> None:
    assert is_stock(tiny_expanded)
    with pytest.raises(
        CheckpointError, match=r"no coordexp\.json that .*, but coord tokens.*put that file"
    ):
        load_predictor(tiny_expanded)


def test_an_adapter_is_no_stock_model(stock: Path, tmp_path: Path) -> None:
    for name in ("config.json", "adapter_config.json"):
        (tmp_path / name).write_bytes((stock / "config.json").read_bytes())
    assert not is_stock(tmp_path)
    with pytest.raises(CheckpointError, match=r"no coordexp\.json; expected an adapter"):
        load_predictor(tmp_path)


def test_a_stock_model_of_another_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(CheckpointError, match="got 'llava'"):
        load_predictor(tmp_path)
