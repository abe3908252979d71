"""A run lists its classes: those of the prompt, or else those of the records."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from coordexp.config.schema import Config
from coordexp.data.plan.class_lists import ClassLists
from coordexp.errors import InputError
from coordexp.training.run import class_list
from coordexp.training.run.build import build_style
from coordexp.training.run.class_list import build_class_lists, trained_classes
from coordexp.training.run.run_encoder import build_run_encoder

MakeConfig = Callable[..., Config]


def record(*descs: str) -> dict[str, object]:
    objects = [{"desc": desc, "bbox_2d": [1, 2, 3, 4]} for desc in descs]
    return {"images": ["a.png"], "width": 9, "height": 9, "objects": objects}


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_descs_of_all_files_are_listed_by_name(make_config: MakeConfig, tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    first = write(tmp_path / "a.jsonl", [record("yak", "cat"), chat, record()])
    second = write(tmp_path / "b.jsonl", [record("bee", "cat")])
    mix = [{"path": str(first)}, {"path": str(second), "weight": 0.5}]
    config = make_config(tmp_path / "run", data={"train": None, "mix": mix})
    assert trained_classes(config) == ("bee", "cat", "yak")


def test_one_class_in_two_unicode_forms_is_one(make_config: MakeConfig, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [record("a\u0308ffchen", "\u00e4ffchen")])
    config = make_config(tmp_path / "run", data={"train": str(path)})
    assert trained_classes(config) == ("\u00e4ffchen",)


def test_classes_of_the_prompt_keep_their_order(make_config: MakeConfig, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [record("cat")])
    custom = {"user_prompt": "Find {classes}.", "classes": ["yak", "cat"]}
    config = make_config(tmp_path / "run", data={"train": str(path)}, custom=custom)
    assert trained_classes(config) == ("yak", "cat")


def test_phrases_are_not_numbered(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_list, "MOST_CLASSES", 2)
    path = write(tmp_path / "a.jsonl", [record("the left cat", "the right cat", "a tail")])
    assert trained_classes(make_config(tmp_path / "run", data={"train": str(path)})) is None


def listed(**block: object) -> dict[str, object]:
    return {"user_prompt": "Find {classes}.", "class_list": block}


def test_absent_classes_are_drawn_from_the_source(make_config: MakeConfig, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [record("yak", "cat"), {"objects": [3, {"desc": 4}]}])
    (tmp_path / "names.txt").write_text("zebra\ncat\n\nzebra\n", "utf-8")
    sources: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
        "data": ({}, ("cat", "yak")),
        "file": ({"file": str(tmp_path / "names.txt")}, ("zebra", "cat")),
        "record": ({}, ()),
    }
    for source, (more, vocabulary) in sources.items():
        custom = listed(source=source, negatives={"most": 7, "empty_share": 0.1}, **more)
        config = make_config(tmp_path / "run", data={"train": str(path)}, custom=custom)
        assert build_class_lists(config) == ClassLists(vocabulary, most=7, empty_share=0.1)


def test_a_model_is_asked_for_the_file_and_what_else_it_saw(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", [record("yak", "cat")])
    (tmp_path / "names.txt").write_text("zebra\ncat\n", "utf-8")
    custom = listed(source="file", file=str(tmp_path / "names.txt"))
    config = make_config(tmp_path / "run", data={"train": str(path)}, custom=custom)
    assert trained_classes(config) == ("zebra", "cat", "yak")
    style = build_style(config)
    assert style.user_prompt == "Find zebra, cat, yak."
    assert style.class_prompt == "Find {classes}."


def test_questions_that_name_classes_need_some(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", [record()])
    config = make_config(tmp_path / "run", data={"train": str(path)}, custom=listed())
    with pytest.raises(InputError, match=r"custom\.class_list: .* no desc"):
        build_class_lists(config)
    monkeypatch.setattr(class_list, "MOST_CLASSES", 1)
    write(path, [record("the left cat", "the right cat")])
    with pytest.raises(InputError, match="more than 1 different descs"):
        build_style(config)


def test_classes_are_read_once_for_question_and_draws(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", [record("yak", "cat")])
    config = make_config(tmp_path / "run", data={"train": str(path)}, custom=listed())
    calls: list[Config] = []

    def counted(config: Config) -> tuple[str, ...] | None:
        calls.append(config)
        return trained_classes(config)

    monkeypatch.setattr(class_list, "trained_classes", counted)
    encoder = build_run_encoder(config, Path(config.model.path))
    assert calls == [config]
    assert encoder.style.user_prompt == "Find cat, yak."
    assert encoder.listed_questions is not None
    assert encoder.listed_questions.lists.vocabulary == ("cat", "yak")


def test_all_records_are_asked_alike_without_a_class_list(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    assert build_class_lists(make_config(tmp_path / "run")) is None
    assert build_style(make_config(tmp_path / "run")).class_prompt is None
