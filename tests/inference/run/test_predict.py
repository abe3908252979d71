import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import (
    RowOptions,
    ScoreMap,
    prediction_row,
    scored_objects,
)
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CheckpointError, RecordError
from coordexp.evaluation.measure.predictions import read_predictions
from coordexp.export.merge import merge_checkpoint
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.qwen_vl.inputs import QwenVLInputs
from coordexp.inference.run.ask import Ask, AskOptions, EncodedQuestions, Question, build_ask
from coordexp.inference.run.predict import AnswerFile, Summary, answer_file, predict_file
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.inference.run.ranks import Ranks
from coordexp.model.adapters import install_lora
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.fingerprint import rows_fingerprint, tokenizer_fingerprint
from coordexp.model.load import coord_rows, load_base, load_coord_vocab, load_tokenizer
from coordexp.rendering.style import RenderingStyle, style_to_json
from tests.inference.plainly import plainly

MakeStyle = Callable[..., RenderingStyle]
LENGTH = 10
OPTIONS = AskOptions(constrain=True, restrict_to=None, max_new_tokens=LENGTH)


@pytest.fixture(scope="module")
def predictions(
    predictor: Predictor, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("predictions") / "deep" / "p.jsonl"
    summary = predict_file(predictor, scenes, out, plainly(batch_size=4, max_new_tokens=LENGTH))
    assert (summary.lines, summary.unread) == (6, [])
    assert summary.objects > 0
    return out


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_predictions_file_is_what_evaluation_reads(predictions: Path, scenes: Path) -> None:
    read = read_predictions(predictions)
    records = RecordFile(scenes, SPEC_ALPHABET)
    assert [row.image for row in read] == [record.image for record in records]
    for row, record in zip(read, records, strict=True):
        assert (predictions.parent / row.root / row.image).is_file()
        assert [item.desc for item in row.truth] == [item.desc for item in record.objects]
        assert row.finish_reason in {"eos", "length"}


def test_lines_have_the_fields_of_the_contract_in_order(predictions: Path) -> None:
    for row in rows_of(predictions):
        assert list(row) == [
            *("root", "image", "width", "height", "gt", "pred"),
            *("raw_text", "parse", "finish_reason", "tokens"),
        ]


def test_the_batch_size_changes_no_answer(
    predictor: Predictor, scenes: Path, predictions: Path, tmp_path: Path
) -> None:
    out = predictions.parent / "one.jsonl"
    predict_file(predictor, scenes, out, plainly(batch_size=1, max_new_tokens=LENGTH))
    assert [row["raw_text"] for row in rows_of(out)] == [
        row["raw_text"] for row in rows_of(predictions)
    ]
    assert list(tmp_path.iterdir()) == []


def said(text: str) -> Answer:
    """An answer whose tokens are its characters, each with probability 1/2."""
    return Answer(
        text=text, pieces=tuple(text), probabilities=(0.5,) * len(text), finish_reason="length"
    )


def test_golden_line_of_a_salvaged_answer(make_style: MakeStyle) -> None:
    record = parse_record(
        {
            "images": ["a/1.png"],
            "width": 1998,
            "height": 999,
            "objects": [
                {"desc": "cat", "bbox_2d": [10.5, 20, 30, 40]},
                {"desc": "sky", "poly": ["<|coord_0|>", "<|coord_0|>"] * 2 + ["<|coord_999|>"] * 2},
            ],
        },
        SPEC_ALPHABET,
    )
    text = (
        '{"object_1": {"desc": "cat", "bbox_2d": [5, 20, 15, 40]}, '
        '"object_2": {"desc": "dog", "bbox_2d": [1, 2]}, "object_3": {"desc": "bi'
    )
    row = prediction_row(
        record,
        said(text),
        make_style(coord_tokens=False),
        "../data",
        RowOptions(),
        end_marks=QWEN3_VL.end_marks,
    )
    # Width 1998 has two pixels a bin; digits: 5, 20, 15, 40 = 7 of them over 4 coordinates.
    assert row == {
        "root": "../data",
        "image": "a/1.png",
        "width": 1998,
        "height": 999,
        "gt": [
            {"desc": "cat", "bbox_2d": [10.5, 20, 30, 40]},
            {"desc": "sky", "poly": [0, 0, 0, 0, 1998, 999]},
        ],
        "pred": [
            {
                "desc": "cat",
                "bbox_2d": [10, 20, 30, 40],
                "score": pytest.approx(0.5**23 * 0.5**3 * 0.5 ** (7 / 4)),
                "score_parts": {
                    "coord": pytest.approx(0.5 ** (7 / 4)),
                    "desc": pytest.approx(0.5**3),
                    "another": pytest.approx(0.5**23),  # {"object_1": {"desc": "
                },
            }
        ],
        "raw_text": text,
        "parse": row["parse"],
        "finish_reason": "length",
        "tokens": [(char, 0.5) for char in text],
    }
    parse = row["parse"]
    assert isinstance(parse, dict)
    assert parse["status"] == "salvaged"
    assert len(parse["dropped"]) == 2


def test_truth_keeps_what_figures_depend_on(make_style: MakeStyle) -> None:
    tokens = [f"<|coord_{k}|>" for k in (0, 0, 999, 999)]
    marked = {"desc": "cat", "bbox_2d": tokens, "iscrowd": 1, "area": 12.5}
    ignored = {"desc": "cat", "line": [0, 0, 9, 9], "ignore": 1}
    federated = {"absent": ["dog"], "not_exhaustive": ["cat"], "frequency": {"cat": "f"}}
    row = {"images": ["a.png"], "width": 9, "height": 9, "objects": [marked, ignored]}
    record = parse_record({**row, "federated": federated}, SPEC_ALPHABET)
    line = prediction_row(
        record,
        said("{}"),
        make_style(coord_tokens=True),
        ".",
        RowOptions(),
        end_marks=QWEN3_VL.end_marks,
    )
    assert line["gt"] == [{**marked, "bbox_2d": [0, 0, 9, 9]}, ignored]
    assert line["federated"] == federated


def test_a_calibrated_score_keeps_the_raw_one(make_style: MakeStyle) -> None:
    record = Record(images=("1.png",), width=999, height=999, objects=())
    text = '{"object_1": {"desc": "cat", "bbox_2d": [5, 20, 15, 40]}}'
    style = make_style(coord_tokens=False)
    options = RowOptions(score_map=ScoreMap("d1", lambda score: score / 2 + 0.25))
    (raw,) = scored_objects(
        record, said(text), style, RowOptions(), end_marks=QWEN3_VL.end_marks
    ).objects
    (item,) = scored_objects(
        record, said(text), style, options, end_marks=QWEN3_VL.end_marks
    ).objects
    assert item.score == raw.score / 2 + 0.25
    assert item.parts == {**raw.parts, "raw": raw.score}
    assert "raw" not in raw.parts


def test_a_run_goes_on_with_the_same_calibration_alone() -> None:
    runs = [
        RowOptions(score_map=score_map).to_json()
        for score_map in (None, ScoreMap("d1", float), ScoreMap("d2", float))
    ]
    assert [run["calibration"] for run in runs] == [None, "d1", "d2"]
    given = RowOptions(min_score=0.5).to_json()
    assert set(given) >= {field.name for field in fields(RowOptions)} - {"score_map"}


def test_garbage_is_a_line_too(make_style: MakeStyle) -> None:
    record = Record(images=("1.png",), width=10, height=10, objects=())
    row = prediction_row(
        record, said("no idea"), make_style(), ".", RowOptions(), end_marks=QWEN3_VL.end_marks
    )
    assert (row["gt"], row["pred"], row["raw_text"]) == ([], [], "no idea")
    empty = Answer(text="", pieces=(), probabilities=(), finish_reason="eos")
    assert (
        prediction_row(
            record, empty, make_style(), ".", RowOptions(), end_marks=QWEN3_VL.end_marks
        )["pred"]
        == []
    )


@pytest.fixture
def own_scenes(scenes: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(scenes.parent, tmp_path / "data")
    return tmp_path / "data" / scenes.name


def test_a_bad_record_at_the_end_writes_nothing(
    predictor: Predictor, own_scenes: Path, tmp_path: Path
) -> None:
    with own_scenes.open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(RecordError, match=r"train\.jsonl:7: "):
        predict_file(
            predictor,
            own_scenes,
            tmp_path / "out" / "p.jsonl",
            plainly(batch_size=2, max_new_tokens=2),
        )
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_missing_is_counted_and_the_rest_is_done(
    predictor: Predictor, own_scenes: Path, tmp_path: Path
) -> None:
    records = list(RecordFile(own_scenes, SPEC_ALPHABET))
    (own_scenes.parent / records[1].image).unlink()
    (own_scenes.parent / records[4].image).write_bytes(b"no picture")
    out = tmp_path / "p.jsonl"
    summary = predict_file(predictor, own_scenes, out, plainly(batch_size=2, max_new_tokens=LENGTH))
    assert summary.lines == 4
    missing, broken = summary.unread
    assert "train.jsonl:2: images[0]: there is no file" in missing
    assert "train.jsonl:5: " in broken
    kept = [records[place].image for place in (0, 2, 3, 5)]
    assert [row["image"] for row in rows_of(out)] == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "p.jsonl"]


def test_a_run_that_was_stopped_goes_on(
    predictor: Predictor, scenes: Path, predictions: Path, tmp_path: Path
) -> None:
    """Stopped in its second batch, with a line that was cut short."""
    out = tmp_path / "p.jsonl"
    root = os.path.relpath(scenes.parent, tmp_path)
    asked: list[int] = []
    inside = build_ask(predictor, OPTIONS)

    def stopping(questions: Sequence[Question]) -> list[Answer]:
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(len(questions))
        return inside(questions)

    def go(ask: Ask) -> Summary:
        return answer_file(
            ask,
            AnswerFile(EncodedQuestions(predictor.encoder), scenes, out, model="m"),
            plainly(batch_size=2, max_new_tokens=LENGTH),
            ranks=Ranks(),
        )

    with pytest.raises(KeyboardInterrupt):
        go(stopping)
    part = tmp_path / "p.jsonl.part0"
    assert not out.exists()
    assert len(part.read_bytes().splitlines()) == 3
    with part.open("ab") as file:
        file.write(b'{"key": "00", "ro')

    def counting(questions: Sequence[Question]) -> list[Answer]:
        asked.append(len(questions))
        return inside(questions)

    assert go(counting).lines == 6
    assert asked == [2, 2, 2]
    assert list(tmp_path.iterdir()) == [out]
    whole = [row | {"root": root} for row in rows_of(predictions)]
    assert [row["raw_text"] for row in rows_of(out)] == [row["raw_text"] for row in whole]


def test_a_folder_of_pictures_needs_no_records(
    predictor: Predictor, scenes: Path, predictions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    folder = scenes.parent / "images"
    assert (
        predict_file(predictor, folder, out, plainly(batch_size=4, max_new_tokens=LENGTH)).lines
        == 6
    )
    by_name = {Path(str(row["image"])).name: row for row in rows_of(predictions)}
    for row in rows_of(out):
        assert row["gt"] == []
        assert row["raw_text"] == by_name[str(row["image"])]["raw_text"]


def make_odd_folder(folder: Path, scenes: Path) -> None:
    """Make a folder of two good pictures and five that nobody can look at."""
    good = sorted((scenes.parent / "images").iterdir())[:2]
    folder.mkdir()
    for picture in good:
        shutil.copy(picture, folder)
    content = good[0].read_bytes()
    Image.new("RGB", (4000, 10)).save(folder / "wide.png")
    Image.new("F", (20, 20)).save(folder / "float.tiff")
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.bmp").write_text("no picture")


def test_a_folder_with_broken_pictures_answers_the_others(
    predictor: Predictor, scenes: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "pics", tmp_path / "p.jsonl"
    make_odd_folder(folder, scenes)
    summary = predict_file(predictor, folder, out, plainly(batch_size=3, max_new_tokens=LENGTH))
    assert (summary.lines, [*summary.indices]) == (2, [4, 5])
    assert [text.split(": ")[0] for text in summary.unread] == [
        str(folder / name) for name in ("cut.png", "empty.jpg", "float.tiff", "text.bmp")
    ] + [str(folder / "wide.png")]
    assert "4000x10 is too thin; no side may have more than 200 times" in summary.unread[-1]


def test_whatever_the_image_processor_raises_is_a_picture_without_a_line(
    predictor: Predictor, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = predictor.encoder.inputs
    assert isinstance(inputs, QwenVLInputs)
    processor = inputs.processor
    whole = type(processor).__call__

    def choosy(self: object, images: list[Image.Image], **options: object) -> object:
        if images[0].getpixel((0, 0)) == (1, 2, 3):
            raise FloatingPointError("a pixel that nobody likes")
        return whole(self, images=images, **options)

    monkeypatch.setattr(type(processor), "__call__", choosy)
    shutil.copytree(scenes.parent / "images", tmp_path / "pics")
    Image.new("RGB", (64, 64), (1, 2, 3)).save(tmp_path / "pics" / "odd.png")
    out = tmp_path / "p.jsonl"
    summary = predict_file(
        predictor, tmp_path / "pics", out, plainly(batch_size=7, max_new_tokens=2)
    )
    assert summary.lines == 6
    (told,) = summary.unread
    assert "odd.png: images[0]: the image processor cannot take it: a pixel" in told


@pytest.mark.parametrize("kind", ["folder", "records"])
def test_answers_are_kept_when_a_picture_is_taken_out(
    predictor: Predictor, own_scenes: Path, tmp_path: Path, kind: str
) -> None:
    """Stopped after four of six answers; the first picture goes, a seventh comes."""
    out = tmp_path / "p.jsonl"
    data = own_scenes if kind == "records" else own_scenes.parent / "images"
    inside = build_ask(predictor, OPTIONS)
    asked: list[int] = []

    def go(ask: Ask) -> Summary:
        return answer_file(
            ask,
            AnswerFile(EncodedQuestions(predictor.encoder), data, out, model="m"),
            plainly(batch_size=2, max_new_tokens=LENGTH),
            ranks=Ranks(),
        )

    def stopping(questions: Sequence[Question]) -> list[Answer]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(questions))
        return inside(questions)

    def counting(questions: Sequence[Question]) -> list[Answer]:
        asked.append(len(questions))
        return inside(questions)

    with pytest.raises(KeyboardInterrupt):
        go(stopping)
    asked.clear()
    images = own_scenes.parent / "images"
    first = sorted(images.iterdir())[0]
    shutil.copy(first, images / "zero.png")
    lines = own_scenes.read_text().splitlines()
    new = json.loads(lines[0]) | {"images": ["images/zero.png"]}
    own_scenes.write_text("\n".join([*lines[1:], json.dumps(new)]) + "\n")
    first.unlink()
    assert go(counting).lines == 6
    assert sum(asked) == 3
    names = [Path(str(row["image"])).name for row in rows_of(out)]
    assert names == sorted(path.name for path in images.iterdir())


def test_two_ranks_write_what_one_does(
    predictor: Predictor, scenes: Path, predictions: Path
) -> None:
    """One after the other here; two processes at once in `test_two_ranks`."""
    out = predictions.parent / "shares.jsonl"

    def share(rank: int) -> Summary:
        return predict_file(
            predictor,
            scenes,
            out,
            plainly(batch_size=4, max_new_tokens=LENGTH),
            ranks=Ranks(rank, 2, wait=lambda: None),
        )

    assert share(1) == Summary()
    assert not out.exists()
    assert share(0).lines == 6
    assert out.read_bytes() == predictions.read_bytes()


@pytest.mark.slow
def test_an_adapter_answers_as_its_merged_model(
    tiny_expanded: Path, make_style: MakeStyle, scenes: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    vocab = load_coord_vocab(tiny_expanded, SPEC_ALPHABET)
    model = load_base(tiny_expanded, dtype="float32", attn_implementation="sdpa")
    # Merging rounds to the base's dtype, and so the base is kept in float32 here.
    base = tmp_path / "base"
    shutil.copytree(tiny_expanded, base)
    model.save_pretrained(base)
    card = WeightsCard(
        base=str(base),
        tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
        coord_ids=(vocab.ids[0], vocab.ids[-1]),
        coord_rows=rows_fingerprint(coord_rows(model, vocab.ids[0], vocab.ids[-1])),
        tie_head=True,
    )
    install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=True)
    adapted = install_lora(
        model,
        family=QWEN3_VL,
        towers=["language"],
        leaves=None,
        experts=False,
        rank=2,
        alpha=4,
        dropout=0.0,
        use_dora=True,
    )
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    adapted.save_pretrained(tmp_path / "adapter")
    write_card(tmp_path / "adapter", style=style_to_json(make_style()), weights=card)
    merge_checkpoint(tmp_path / "adapter", tmp_path / "merged", overwrite=False)

    texts = []
    for name in ("adapter", "merged", "base"):
        if name == "base":
            shutil.copy(tmp_path / "merged" / "coordexp.json", base)
        out = tmp_path / f"{name}.jsonl"
        predict_file(
            load_predictor(tmp_path / name),
            scenes,
            out,
            plainly(batch_size=6, max_new_tokens=LENGTH),
        )
        texts.append([row["raw_text"] for row in rows_of(out)])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]  # the adapter does something


def test_the_text_baseline_needs_no_coord_tokens(
    as_merged: Callable[..., Path], tiny_base: Path, scenes: Path, tmp_path: Path
) -> None:
    predictor = load_predictor(as_merged(tiny_base, tmp_path / "model", coord_tokens=False))
    assert predictor.vocab is None
    out = tmp_path / "p.jsonl"
    assert predict_file(predictor, scenes, out, plainly(batch_size=6, max_new_tokens=2)).lines == 6


def test_a_model_without_the_coord_tokens_it_needs_is_refused(
    as_merged: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"model: .*coordexp vocab expand"):
        load_predictor(as_merged(tiny_base, tmp_path / "model"))


def test_a_directory_without_a_style_is_refused(tiny_expanded: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no coordexp\.json"):
        load_predictor(tiny_expanded)


def test_a_base_that_is_gone_is_named(make_style: MakeStyle, tmp_path: Path) -> None:
    card = WeightsCard(
        base="/nowhere/base", tokenizer="", coord_ids=None, coord_rows=None, tie_head=None
    )
    write_card(tmp_path, style=style_to_json(make_style()), weights=card)
    with pytest.raises(CheckpointError, match=r"its base /nowhere/base is not there"):
        load_predictor(tmp_path)
