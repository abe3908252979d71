import json
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.audit.audit import audit_files
from coordexp.inspection.survey.encoding import source_of_model
from coordexp.inspection.survey.run_audit import audit_run
from coordexp.rendering.reserved_tokens import ReservedTokens

ROW = {"images": ["a.png"], "width": 64, "height": 48}
CAT = {"desc": "cat", "bbox_2d": [1, 2, 3, 4]}


def found(path: Path, model: Path, *, limit: int | None = None) -> list[tuple[str, int | None]]:
    report = audit_files([path], images=False, alphabet=SPEC_ALPHABET)
    audit_run([path], replace(source_of_model(model, SPEC_ALPHABET), max_length=limit), report)
    return [(item.rule.name, item.places[0].line) for item in report.findings]


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_sound_records_stay_sound(tmp_path: Path, tiny_expanded: Path) -> None:
    path = write(tmp_path / "a.jsonl", {**ROW, "objects": [CAT]})
    assert found(path, tiny_expanded) == []


def test_special_tokens_of_the_runs_own_tokenizer_are_found(
    tmp_path: Path, tiny_expanded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReservedTokens, "found_in", lambda _, text: "t]" if "t]" in text else None)
    odd = {**CAT, "desc": "[cat]"}
    rows = [{**ROW, "objects": [CAT]}, {**ROW, "images": ["b.png"], "objects": [odd]}]
    assert found(write(tmp_path / "a.jsonl", *rows), tiny_expanded) == [("special-token", 2)]


def test_long_examples_are_found_where_there_is_a_limit(
    tmp_path: Path, tiny_expanded: Path
) -> None:
    cats = [{"desc": "cat", "bbox_2d": [k, 2, k + 1, 4]} for k in range(40)]
    rows = [{**ROW, "objects": []}, {**ROW, "images": ["b.png"], "objects": cats}]
    path = write(tmp_path / "a.jsonl", *rows)
    assert found(path, tiny_expanded) == []
    assert found(path, tiny_expanded, limit=200) == [("too-long", 2)]


def test_what_breaks_the_contract_is_not_told_twice(tmp_path: Path, tiny_expanded: Path) -> None:
    path = write(tmp_path / "a.jsonl", {**ROW, "objects": [{**CAT, "desc": "<|im_end|>"}]})
    assert found(path, tiny_expanded) == [("special-token", 1)]
