import json
import shutil
from pathlib import Path

import pytest
import torch

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError, InputError
from coordexp.model.load import load_base, load_image_processor, load_tokenizer
from coordexp.model.vocab_expansion import SMOOTHING_BINS, expand_vocabulary
from tests.model.qwen import FIRST_COORD_ID, LAST_COORD_ID, NUM_TOKENS, load_real_tokenizer
from tests.model.small import load_weights, small_model, write_small_base

EMBED = "model.language_model.embed_tokens.weight"
HEAD = "lm_head.weight"
BINS20 = CoordAlphabet(pattern="<p{}>", bins=20, wildcard=None)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def small_base(
    request: pytest.FixtureRequest, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("small") / "base"
    return write_small_base(path, tiny_base, rows=512, tied=request.param)


@pytest.mark.parametrize("init", ["mean", "digits"])
def test_all_but_the_new_rows_stay_bit_identical(
    small_base: Path, tmp_path: Path, init: str
) -> None:
    before = load_weights(small_base)
    used = len(load_tokenizer(small_base))
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=SPEC_ALPHABET, init=init)  # type: ignore[arg-type]
    after = load_weights(tmp_path / "e")
    matrices = [name for name in (EMBED, HEAD) if name in before]
    assert done.tensors == tuple(sorted(matrices))
    assert (done.first_id, done.last_id, done.rows_before) == (used + 1, used + 1000, 512)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        if name not in matrices:
            assert torch.equal(tensor, after[name])
            continue
        assert len(after[name]) == done.rows_after == 1408  # 389 + 1000 and up to 11 * 128
        assert torch.equal(tensor[:used], after[name][:used])
        assert after[name].dtype == tensor.dtype


def test_the_new_checkpoint_is_complete_and_loads(small_base: Path, tmp_path: Path) -> None:
    dst = tmp_path / "e"
    done = expand_vocabulary(small_base, dst, alphabet=SPEC_ALPHABET, init="mean")
    assert {path.name for path in small_base.iterdir()} <= {path.name for path in dst.iterdir()}
    config = json.loads((dst / "config.json").read_text())
    assert config["text_config"]["vocab_size"] == done.rows_after
    assert "vocab_size" not in config["vision_config"]
    vocab = CoordVocab.from_tokenizer(load_tokenizer(dst))
    assert (vocab.ids[0], vocab.ids[-1]) == (done.first_id, done.last_id)
    load_image_processor(dst, min_pixels=None, max_pixels=None)
    model = load_base(dst, dtype="auto", attn_implementation="sdpa")
    tied = HEAD not in load_weights(small_base)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    assert (head.weight is embedding.weight) == tied
    assert len(head.weight) == len(embedding.weight) == done.rows_after


def test_text_is_tokenised_as_before(tiny_base: Path, tiny_expanded: Path) -> None:
    text = 'user\n{"object_1": {"desc": "seven", "bbox_2d": [1, 22, 333, 999]}}<|im_end|>'
    before, after = load_tokenizer(tiny_base), load_tokenizer(tiny_expanded)
    assert before.encode(text) == after.encode(text)
    assert before.chat_template == after.chat_template


def test_text_scores_are_as_before(tiny_base: Path, tiny_expanded: Path) -> None:
    used = len(load_tokenizer(tiny_base))
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        before, after = (
            load_base(path, dtype="float32", attn_implementation="sdpa").eval()(ids).logits
            for path in (tiny_base, tiny_expanded)
        )
    torch.testing.assert_close(after[..., :used], before[..., :used], rtol=1e-6, atol=1e-6)


def test_mean_is_the_mean_of_the_rows_in_use(small_base: Path, tmp_path: Path) -> None:
    used = len(load_tokenizer(small_base))
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=SPEC_ALPHABET, init="mean")
    before, after = load_weights(small_base)[EMBED], load_weights(tmp_path / "e")[EMBED]
    mean = before[:used].mean(0)
    new = after[done.first_id : done.last_id + 1]
    torch.testing.assert_close(new, mean.expand_as(new))
    torch.testing.assert_close(after[used], mean)  # the wildcard


def test_digits_is_the_number_s_text_smoothed_over_its_neighbours(
    small_base: Path, tmp_path: Path
) -> None:
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=SPEC_ALPHABET, init="digits")
    before, after = load_weights(small_base)[EMBED], load_weights(tmp_path / "e")[EMBED]
    tokenizer = load_tokenizer(small_base)
    half = SMOOTHING_BINS // 2
    for k in (0, 500, 999):
        window = [min(max(i, 0), 999) for i in range(k - half, k + half + 1)]
        texts = [tokenizer.encode(str(i), add_special_tokens=False) for i in window]
        expected = torch.stack([before[ids].mean(0) for ids in texts]).mean(0)
        torch.testing.assert_close(after[done.first_id + k], expected, rtol=1e-4, atol=1e-6)
    new = after[done.first_id : done.last_id + 1]
    neighbours = (new[1:] - new[:-1]).norm(dim=-1).mean()
    strangers = (new[500:] - new[:500]).norm(dim=-1).mean()
    assert neighbours < strangers / 3


def test_a_padded_matrix_never_shrinks(small_base: Path, tmp_path: Path) -> None:
    before = load_weights(small_base)[EMBED]
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=BINS20, init="mean")
    after = load_weights(tmp_path / "e")[EMBED]
    assert len(after) == done.rows_after == done.rows_before == 512
    outside = torch.ones(512, dtype=torch.bool)
    outside[done.first_id : done.last_id + 1] = False
    assert torch.equal(after[outside], before[outside])


def test_rows_are_padded_up_to_a_multiple_of_128(tiny_base: Path, tmp_path: Path) -> None:
    odd = write_small_base(tmp_path / "odd", tiny_base, rows=500, tied=True)
    done = expand_vocabulary(odd, tmp_path / "e", alphabet=BINS20, init="mean")
    assert (done.rows_before, done.rows_after) == (500, 512)


def test_shards_without_a_vocabulary_matrix_are_copied(tiny_base: Path, tmp_path: Path) -> None:
    src = tmp_path / "sharded"
    write_small_base(src, tiny_base, rows=512, tied=False)
    whole = load_weights(src)
    (src / "model.safetensors").unlink()
    small_model(rows=512, tied=False).save_pretrained(src, max_shard_size="100KB")
    shards = sorted(src.glob("*.safetensors"))
    assert len(shards) > 3
    expand_vocabulary(src, tmp_path / "e", alphabet=SPEC_ALPHABET, init="mean")
    copied = [s for s in shards if (tmp_path / "e" / s.name).read_bytes() == s.read_bytes()]
    assert 0 < len(copied) < len(shards)
    after = load_weights(tmp_path / "e")
    assert after.keys() == whole.keys()
    load_base(tmp_path / "e", dtype="auto", attn_implementation="sdpa")


@pytest.mark.slow
def test_the_real_tokenizer_gives_the_published_ids(tiny_base: Path, tmp_path: Path) -> None:
    """151,936 rows hold 151,669 tokens; the last coord id does not fit and 128 rows pad it."""
    src = tmp_path / "real"
    write_small_base(src, tiny_base, rows=151_936, tied=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (src / name).unlink()
    load_real_tokenizer().save_pretrained(src)
    done = expand_vocabulary(src, tmp_path / "e", alphabet=SPEC_ALPHABET, init="digits")
    assert (done.first_id, done.last_id) == (FIRST_COORD_ID, LAST_COORD_ID)
    assert (done.rows_before, done.rows_after) == (151_936, 152_704)
    assert load_tokenizer(tmp_path / "e").convert_tokens_to_ids("<|coord_*|>") == NUM_TOKENS
    before, after = load_weights(src)[EMBED], load_weights(tmp_path / "e")[EMBED]
    assert torch.equal(before[:NUM_TOKENS], after[:NUM_TOKENS])


# --- refusals ---


def test_a_second_expansion_is_refused(tiny_expanded: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="coord tokens already"):
        expand_vocabulary(tiny_expanded, tmp_path / "e", alphabet=SPEC_ALPHABET, init="mean")
    assert not list(tmp_path.iterdir())


def test_an_existing_directory_is_refused_unless_asked(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        expand_vocabulary(tiny_base, tmp_path / "e", alphabet=BINS20, init="mean")
    assert (tmp_path / "e" / "mine.txt").exists()
    expand_vocabulary(tiny_base, tmp_path / "e", alphabet=BINS20, init="mean", overwrite=True)
    assert (tmp_path / "e" / "config.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "config.json: cannot be read"),
        ("config.json", "{", "config.json: cannot be read"),
        ("config.json", "[]", "expected a JSON object"),
        ("model.safetensors", None, "no \\*.safetensors weights"),
        ("model.safetensors", "cut off", "model.safetensors: cannot be read"),
        ("tokenizer_config.json", None, "tokenizer_config.json is missing"),
    ],
)
def test_a_broken_base_leaves_nothing_behind(
    tiny_base: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    src = tmp_path / "broken"
    shutil.copytree(tiny_base, src)
    (src / name).unlink()
    if content is not None:
        (src / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        expand_vocabulary(src, tmp_path / "e", alphabet=BINS20, init="mean")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
