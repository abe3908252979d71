import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_tokenizer
from coordexp.model.tokenizer_files import add_tokens, check_tokenizer_files
from tests.model.qwen import (
    FIRST_COORD_ID,
    LAST_COORD_ID,
    NUM_TOKENS,
    load_real_tokenizer,
    real_tokenizer_files,
)

NAMES = (str(SPEC_ALPHABET.wildcard), *SPEC_ALPHABET.tokens())
TEXTS = (
    '{"object_1": {"desc": "Größe 七 e\u0301", "bbox_2d": ["<|coord_12|>", "<|coord_999|>"]}}',
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>12 345 don't  stop<|im_end|>",
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Qwen3 tokenizer's files with the coord tokens added."""
    path = tmp_path_factory.mktemp("real")
    add_tokens(real_tokenizer_files(), path, NAMES, first_id=NUM_TOKENS)
    return path


@pytest.fixture(scope="module")
def ours(real: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(real)


@pytest.mark.slow
def test_the_real_tokenizer_gets_the_published_ids(ours: PreTrainedTokenizerBase) -> None:
    vocab = CoordVocab.from_tokenizer(ours, SPEC_ALPHABET)
    assert (vocab.ids[0], vocab.ids[-1]) == (FIRST_COORD_ID, LAST_COORD_ID)
    assert len(ours) == LAST_COORD_ID + 1


@pytest.mark.slow
def test_it_is_the_tokenizer_that_transformers_would_have_made(
    ours: PreTrainedTokenizerBase,
) -> None:
    theirs = load_real_tokenizer()
    theirs.add_tokens(list(NAMES), special_tokens=True)
    assert tokenizer_fingerprint(ours) == tokenizer_fingerprint(theirs)
    for text in TEXTS:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(
            ids, skip_special_tokens=True
        )


@pytest.mark.slow
def test_readers_without_transformers_agree(real: Path, ours: PreTrainedTokenizerBase) -> None:
    plain = Tokenizer.from_file(str(real / "tokenizer.json"))
    for text in TEXTS:
        assert plain.encode(text).ids == ours.encode(text)


@pytest.mark.slow
def test_nothing_but_the_new_tokens_is_new(real: Path) -> None:
    src = real_tokenizer_files()
    before, after = (json.loads((p / "tokenizer.json").read_text()) for p in (src, real))
    assert [token["content"] for token in after["added_tokens"][-1001:]] == list(NAMES)
    assert after.pop("added_tokens")[:-1001] == before.pop("added_tokens")
    assert before == after
    before, after = (json.loads((p / "tokenizer_config.json").read_text()) for p in (src, real))
    added = after["added_tokens_decoder"]
    assert added[str(LAST_COORD_ID)]["content"] == "<|coord_999|>"
    assert {i: token for i, token in added.items() if int(i) < NUM_TOKENS} == before[
        "added_tokens_decoder"
    ]
    assert after | {"added_tokens_decoder": None} == before | {"added_tokens_decoder": None}


def test_the_old_list_of_added_tokens_is_kept_up_to_date(tiny_base: Path, tmp_path: Path) -> None:
    src = tmp_path / "src"
    shutil.copytree(tiny_base, src)
    (src / "added_tokens.json").write_text('{"<|im_end|>": 3}')
    dst = tmp_path / "dst"
    dst.mkdir()
    add_tokens(src, dst, ("<a>", "<b>"), first_id=400)
    content = json.loads((dst / "added_tokens.json").read_text())
    assert content == {"<|im_end|>": 3, "<a>": 400, "<b>": 401}


def test_without_new_tokens_files_keep_their_content(tiny_base: Path, tmp_path: Path) -> None:
    add_tokens(tiny_base, tmp_path, (), first_id=0)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        before, after = (json.loads((path / name).read_text()) for path in (tiny_base, tmp_path))
        assert before == after


def test_a_tokenizer_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read"):
        check_tokenizer_files(tmp_path)
