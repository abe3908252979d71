"""Rows fitted to the base that the package ships, which can write numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import CoordExpError, InputError
from coordexp.lab.fit import fit_base
from coordexp.model.load import load_coord_vocab
from coordexp.scenes.digits import write_scenes
from coordexp.tiny.shipped import TINY, write_shipped_base

pytestmark = pytest.mark.slow

TABLE = "model.language_model.embed_tokens.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shipped") / "base"
    write_shipped_base(TINY, path)
    return path


@pytest.fixture(scope="module")
def fitted(base: Path) -> Path:
    records = write_scenes(base.parent / "data", split="train", count=60, seed=4)
    dst = base.parent / "fitted"
    fit_base(base, records, dst, batch_size=10, overwrite=False)
    return dst


def test_fitted_rows_read_what_the_base_is_about_to_write(fitted: Path) -> None:
    figures = json.loads((fitted / "fit.json").read_text("utf-8"))
    assert figures["heldout"] > 50
    # By chance it would be 333. Sixty scenes are a tenth of what the figure of the docs took.
    assert figures["median_error"] < 40


def test_nothing_else_of_the_base_changes(base: Path, fitted: Path) -> None:
    before, after = (load_file(path / "model.safetensors") for path in (base, fitted))
    vocab = load_coord_vocab(fitted, SPEC_ALPHABET)
    for name, weight in before.items():
        if name != TABLE:
            assert torch.equal(weight, after[name])
    used = vocab.ids.start - 1  # the wildcard comes before bin 0
    assert torch.equal(before[TABLE][:used], after[TABLE][:used])


def test_it_can_be_asked_in_coord_tokens_at_once(fitted: Path) -> None:
    style = json.loads((fitted / "coordexp.json").read_text("utf-8"))["style"]
    assert style["coord_tokens"] is True
    assert style["user_prompt"] == "Find every digit."


def test_a_base_with_coord_tokens_is_refused(fitted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answers in coord tokens already"):
        fit_base(fitted, tmp_path / "none.jsonl", tmp_path / "dst", batch_size=1, overwrite=False)


def test_records_without_objects_are_no_lesson(base: Path, tmp_path: Path) -> None:
    path = write_scenes(tmp_path, split="train", count=1, seed=4)
    row = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(row | {"objects": []}) + "\n", "utf-8")
    with pytest.raises(CoordExpError, match="no number"):
        fit_base(base, path, tmp_path / "dst", batch_size=1, overwrite=False)
    assert not (tmp_path / "dst").exists()
