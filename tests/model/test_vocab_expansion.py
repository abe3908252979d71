import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError, InputError
from coordexp.model.load import load_base, load_inputs, load_tokenizer
from coordexp.model.new_rows import SMOOTHING_BINS
from coordexp.model.shards import INDEX_FILE
from coordexp.model.vocab_expansion import (
    Expansion,
    expand_vocabulary,
    pad_vocabulary,
)
from tests.model.qwen import FIRST_COORD_ID, LAST_COORD_ID, NUM_TOKENS, real_tokenizer_files
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


def sharded_base(path: Path, files_from: Path) -> Path:
    write_small_base(path, files_from, rows=512, tied=False)
    (path / "model.safetensors").unlink()
    small_model(rows=512, tied=False).save_pretrained(path, max_shard_size="100KB")
    return path


def coord_ids(done: Expansion) -> tuple[int, int]:
    assert done.coord_ids is not None
    return done.coord_ids


def expand(src: Path, dst: Path, **options: bool) -> Expansion:
    return expand_vocabulary(src, dst, alphabet=BINS20, init="mean", **options)


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
    assert (done.coord_ids, done.rows_before) == ((used + 1, used + 1000), 512)
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
    vocab = CoordVocab.from_tokenizer(load_tokenizer(dst), SPEC_ALPHABET)
    assert (vocab.ids[0], vocab.ids[-1]) == done.coord_ids
    load_inputs(dst, min_pixels=None, max_pixels=None)
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
    models = [
        load_base(path, dtype="float32", attn_implementation="sdpa").eval()
        for path in (tiny_base, tiny_expanded)
    ]
    with torch.no_grad():
        before, after = (model(ids).logits[..., :used] for model in models)
        hidden = models[0].model(ids).last_hidden_state
        head = models[0].get_output_embeddings().weight[:used]
        # The same products; how many columns a head has may change the order of a sum, and two
        # orders of D numbers in float32 are no further apart than D roundings each.
        sizes = hidden.abs() @ head.abs().T
        roundings = head.shape[1] * torch.finfo(torch.float32).eps
        assert ((after - before).abs() <= roundings * sizes).all()
        assert roundings * sizes.max() < before.std() / 1000


def test_mean_is_the_mean_of_the_rows_in_use(small_base: Path, tmp_path: Path) -> None:
    used = len(load_tokenizer(small_base))
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=SPEC_ALPHABET, init="mean")
    first, last = coord_ids(done)
    before, after = load_weights(small_base)[EMBED], load_weights(tmp_path / "e")[EMBED]
    mean = before[:used].mean(0)
    new = after[first : last + 1]
    torch.testing.assert_close(new, mean.expand_as(new))
    torch.testing.assert_close(after[used], mean)  # the wildcard


def test_digits_is_the_number_s_text_smoothed_over_its_neighbours(
    small_base: Path, tmp_path: Path
) -> None:
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=SPEC_ALPHABET, init="digits")
    first, last = coord_ids(done)
    before, after = load_weights(small_base)[EMBED], load_weights(tmp_path / "e")[EMBED]
    tokenizer = load_tokenizer(small_base)
    half = SMOOTHING_BINS // 2
    for k in (0, 500, 999):
        window = [min(max(i, 0), 999) for i in range(k - half, k + half + 1)]
        texts = [tokenizer.encode(str(i), add_special_tokens=False) for i in window]
        expected = torch.stack([before[ids].mean(0) for ids in texts]).mean(0)
        torch.testing.assert_close(after[first + k], expected, rtol=1e-4, atol=1e-6)
    new = after[first : last + 1]
    neighbours = (new[1:] - new[:-1]).norm(dim=-1).mean()
    strangers = (new[500:] - new[:500]).norm(dim=-1).mean()
    assert neighbours < strangers / 3


def test_a_padded_matrix_never_shrinks(small_base: Path, tmp_path: Path) -> None:
    before = load_weights(small_base)[EMBED]
    done = expand_vocabulary(small_base, tmp_path / "e", alphabet=BINS20, init="mean")
    first, last = coord_ids(done)
    after = load_weights(tmp_path / "e")[EMBED]
    assert len(after) == done.rows_after == done.rows_before == 512
    outside = torch.ones(512, dtype=torch.bool)
    outside[first : last + 1] = False
    assert torch.equal(after[outside], before[outside])


def test_rows_are_padded_up_to_a_multiple_of_128(tiny_base: Path, tmp_path: Path) -> None:
    odd = write_small_base(tmp_path / "odd", tiny_base, rows=500, tied=True)
    done = expand_vocabulary(odd, tmp_path / "e", alphabet=BINS20, init="mean")
    assert (done.rows_before, done.rows_after) == (500, 512)


def test_shards_without_a_vocabulary_matrix_are_copied(tiny_base: Path, tmp_path: Path) -> None:
    src = sharded_base(tmp_path / "sharded", tiny_base)
    whole = load_weights(src)
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
    for path in real_tokenizer_files().glob("tokenizer*"):
        shutil.copyfile(path, src / path.name)
    done = expand_vocabulary(src, tmp_path / "e", alphabet=SPEC_ALPHABET, init="digits")
    assert done.coord_ids == (FIRST_COORD_ID, LAST_COORD_ID)
    assert (done.rows_before, done.rows_after) == (151_936, 152_704)
    assert load_tokenizer(tmp_path / "e").convert_tokens_to_ids("<|coord_*|>") == NUM_TOKENS
    before, after = load_weights(src)[EMBED], load_weights(tmp_path / "e")[EMBED]
    assert torch.equal(before[:NUM_TOKENS], after[:NUM_TOKENS])


def test_the_index_says_what_the_shards_hold(tiny_base: Path, tmp_path: Path) -> None:
    src = sharded_base(tmp_path / "sharded", tiny_base)
    done = expand_vocabulary(src, tmp_path / "e", alphabet=SPEC_ALPHABET, init="mean")
    index = json.loads((tmp_path / "e" / INDEX_FILE).read_text())
    stored = {path.name: load_file(path) for path in (tmp_path / "e").glob("*.safetensors")}
    held = {name: file for file, tensors in stored.items() for name in tensors}
    size = sum(t.nbytes for tensors in stored.values() for t in tensors.values())
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == size == done.num_bytes


def test_rows_are_the_same_in_every_dtype_and_in_small_pieces(
    small_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that ends in the middle of the used rows, and one that ends after them."""
    whole = expand(small_base, tmp_path / "whole")
    monkeypatch.setattr("coordexp.model.new_rows._CHUNK_ROWS", 100)
    assert expand(small_base, tmp_path / "pieces") == whole
    for name, tensor in load_weights(tmp_path / "whole").items():
        assert torch.equal(tensor, load_weights(tmp_path / "pieces")[name])


def test_weights_of_other_formats_stay_behind(tiny_base: Path, tmp_path: Path) -> None:
    """They would hold the old vocabulary."""
    src = tmp_path / "src"
    shutil.copytree(tiny_base, src)
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.gguf", "merges.txt"):
        (src / name).write_text("x")
    expand(src, tmp_path / "e")
    names = {path.name for path in (tmp_path / "e").iterdir()}
    assert {path.name for path in src.iterdir()} - names == {
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "model.gguf",
    }


# --- only padding, and only looking ---


def test_pad_only_adds_rows_and_no_tokens(tiny_base: Path, tmp_path: Path) -> None:
    odd = write_small_base(tmp_path / "odd", tiny_base, rows=500, tied=False)
    done = pad_vocabulary(odd, tmp_path / "e")
    assert (done.coord_ids, done.init) == (None, None)
    assert (done.rows_before, done.rows_after, done.tensors) == (500, 512, (HEAD, EMBED))
    before, after = load_weights(odd), load_weights(tmp_path / "e")
    used = len(load_tokenizer(odd))
    for name in (EMBED, HEAD):
        assert torch.equal(before[name], after[name][:500])
        mean = before[name][:used].mean(0)
        torch.testing.assert_close(after[name][500:], mean.expand(12, -1))
    assert load_tokenizer(tmp_path / "e").get_vocab() == load_tokenizer(odd).get_vocab()
    load_base(tmp_path / "e", dtype="auto", attn_implementation="sdpa")
    with pytest.raises(CheckpointError, match="nothing to pad; its 512 rows hold all"):
        pad_vocabulary(tmp_path / "e", tmp_path / "again")


def test_pad_only_makes_room_for_tokens_without_rows(tiny_base: Path, tmp_path: Path) -> None:
    small = write_small_base(tmp_path / "small", tiny_base, rows=384, tied=True)
    used = len(load_tokenizer(small))
    assert used > 384
    assert pad_vocabulary(small, tmp_path / "e").rows_after == 512


def test_a_dry_run_says_the_same_and_writes_nothing(tiny_base: Path, tmp_path: Path) -> None:
    src = tmp_path / "src"
    shutil.copytree(tiny_base, src)
    said = expand(src, tmp_path / "e", dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
    assert expand(src, tmp_path / "e") == said
    with pytest.raises(InputError, match="exists already"):
        expand(src, tmp_path / "e", dry_run=True)


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
        ("model.safetensors", None, "neither model.safetensors nor"),
        ("model.safetensors", "cut off", "model.safetensors: cannot be read"),
        ("tokenizer_config.json", None, "tokenizer_config.json: cannot be read"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json: expected a JSON object"),
        ("tokenizer.json", None, "tokenizer.json: cannot be read"),
        ("tokenizer.json", '{"cut', "tokenizer.json: cannot be read"),
        ("tokenizer.json", "{}", "added_tokens: expected a list"),
        ("tokenizer.json", '{"added_tokens": [], "model": {}}', "tokenizer cannot be loaded"),
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


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("place", [".", "..", "inside", "../base"])
def test_the_source_is_never_in_the_way(
    tiny_base: Path, tmp_path: Path, place: str, overwrite: bool
) -> None:
    src = tmp_path / "outer" / "base"
    shutil.copytree(tiny_base, src)
    before = sorted(path.name for path in src.iterdir())
    with pytest.raises(InputError, match="holds it or lies in it"):
        expand(src, src / place, overwrite=overwrite)
    link = tmp_path / "link"
    link.symlink_to(src, target_is_directory=True)
    with pytest.raises(InputError, match="holds it or lies in it"):
        expand(src, link, overwrite=overwrite)
    assert sorted(path.name for path in src.iterdir()) == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("vocab_size", 511, "says vocab_size 511, .*embed_tokens.weight has 512 rows"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "quantised weights cannot be"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    tiny_base: Path, tmp_path: Path, key: str, value: object, message: str
) -> None:
    src = write_small_base(tmp_path / "src", tiny_base, rows=512, tied=True)
    config = json.loads((src / "config.json").read_text())
    (config if key == "quantization_config" else config["text_config"])[key] = value
    (src / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        expand(src, tmp_path / "e")


def test_an_index_that_does_not_fit_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    src = sharded_base(tmp_path / "sharded", tiny_base)
    index = json.loads((src / INDEX_FILE).read_text())
    index["weight_map"]["stray"] = index["weight_map"][EMBED]
    (src / INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="does not match its files; stray first"):
        expand(src, tmp_path / "e")
    (src / INDEX_FILE).write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as an index"):
        expand(src, tmp_path / "e")
