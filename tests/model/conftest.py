"""Small expanded bases, and an adapter on one of them."""

from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.model.load import load_coord_vocab
from tests.model.checkpoints import ROWS, make_adapted, save
from tests.model.small import write_small_base


@pytest.fixture(scope="session")
def bases(tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A small expanded base, tied and untied."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        tied: write_small_base(folder / str(tied), tiny_expanded, rows=ROWS, tied=tied)
        for tied in (True, False)
    }


@pytest.fixture(scope="session")
def vocab(tiny_expanded: Path) -> CoordVocab:
    return load_coord_vocab(tiny_expanded, SPEC_ALPHABET)


@pytest.fixture
def saved(bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path) -> Path:
    """A checkpoint of the tied base, one table, LoRA."""
    model, card = make_adapted(bases[True], vocab, tie_head=True)
    return save(model, card, tmp_path / "saved")
