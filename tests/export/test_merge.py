import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)

from coordexp.data.image import load_image
from coordexp.data.jsonl import RecordFile
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.export.bake import bake_coord_offsets
from coordexp.export.merge import MergeReport, merge_checkpoint
from coordexp.model.card import load_card_section, load_weights_card
from coordexp.model.load import load_base, load_checkpoint, load_image_processor, load_tokenizer
from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import style_from_json

WriteAdapter = Callable[..., Path]
COMBINATIONS = [(tied, tie_head) for tied in (True, False) for tie_head in (True, False)]


class Bases(Protocol):
    tied: Path
    untied: Path


@dataclass(frozen=True)
class Merged:
    base: Path
    adapter: Path
    path: Path
    report: MergeReport


def batch_of(model: Path, adapter: Path, scenes: Path) -> dict[str, Tensor]:
    """Return two records with their pictures and answers, encoded."""
    style = style_from_json(load_card_section(adapter, "style"))
    processor = load_image_processor(model, min_pixels=None, max_pixels=None)
    encoder = Encoder(load_tokenizer(model), processor, style)
    records = RecordFile(scenes)[:2]
    pictures = [load_image(scenes.parent, record) for record in records]
    examples = [
        encoder.encode(record, picture, seed=0, epoch=0, index=0)
        for record, picture in zip(records, pictures, strict=True)
    ]
    pad_id = encoder.tokenizer.pad_token_id
    batch = Collator(pad_id=pad_id, image_token_id=encoder.image_token_id, side="right")(examples)
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


@torch.no_grad()
def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model.eval()(**batch).logits


@pytest.fixture(scope="module", params=COMBINATIONS, ids=lambda p: f"tied={p[0]}-tie_head={p[1]}")
def merged(
    request: pytest.FixtureRequest,
    bases: Bases,
    write_adapter: WriteAdapter,
    tmp_path_factory: pytest.TempPathFactory,
) -> Merged:
    tied, tie_head = request.param
    out = tmp_path_factory.mktemp("merged")
    base = bases.tied if tied else bases.untied
    adapter = write_adapter(base, out / "adapter", tie_head=tie_head, use_dora=tied)
    report = merge_checkpoint(adapter, out / "merged", overwrite=False)
    return Merged(base=base, adapter=adapter, path=out / "merged", report=report)


def test_merged_logits_are_the_adapters(merged: Merged, scenes: Path) -> None:
    batch = batch_of(merged.base, merged.adapter, scenes)
    expected = logits(load_checkpoint(merged.base, merged.adapter), batch)
    plain = AutoModelForImageTextToText.from_pretrained(merged.path)
    assert type(plain.get_input_embeddings()) is nn.Embedding
    torch.testing.assert_close(logits(plain, batch), expected, atol=2e-4, rtol=1e-4)
    base = load_base(merged.base, dtype="float32", attn_implementation="sdpa")
    assert (logits(base, batch) - expected).abs().max() > 0.1  # the adapter does something
    assert merged.report.logit_difference < 1e-4
    assert merged.report.dtype == "float32"


def test_of_the_vocabulary_only_coord_rows_move(merged: Merged) -> None:
    first, last = load_weights_card(merged.path).coord_ids or (0, 0)
    before = load_base(merged.base, dtype="float32", attn_implementation="sdpa")
    after = load_base(merged.path, dtype="float32", attn_implementation="sdpa")
    for name in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, name)().weight, getattr(after, name)().weight
        moved = (old != new).any(-1).nonzero()[:, 0].tolist()
        assert moved == list(range(first, last + 1)), name


def test_tables_stay_tied_where_they_can(merged: Merged, request: pytest.FixtureRequest) -> None:
    tied, tie_head = request.node.callspec.params["merged"]
    model = AutoModelForImageTextToText.from_pretrained(merged.path)
    shared = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    expected = tied and tie_head
    assert shared is expected
    assert merged.report.tied is expected
    assert model.config.tie_word_embeddings is expected
    assert model.config.text_config.use_cache is True


@pytest.fixture(scope="module")
def adapter(
    bases: Bases, write_adapter: WriteAdapter, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_adapter(bases.tied, tmp_path_factory.mktemp("adapter") / "a", tie_head=True)


@pytest.fixture(scope="module")
def plain_merged(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dst = tmp_path_factory.mktemp("plain") / "merged"
    merge_checkpoint(adapter, dst, overwrite=False)
    return dst


def test_everything_a_user_of_the_model_needs_is_there(plain_merged: Path, adapter: Path) -> None:
    names = {path.name for path in plain_merged.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
        "video_preprocessor_config.json",
        "chat_template.jinja",
        "generation_config.json",
        "coordexp.json",
    }
    assert not [name for name in names if "adapter" in name or "partial" in name]
    assert "<|coord_999|>" in AutoTokenizer.from_pretrained(plain_merged).get_vocab()
    assert AutoImageProcessor.from_pretrained(plain_merged, backend="pil").merge_size == 2
    assert load_weights_card(plain_merged).base is None
    assert load_card_section(plain_merged, "style") == load_card_section(adapter, "style")


def test_a_half_precision_base_stays_one(
    tiny_expanded: Path,
    write_adapter: WriteAdapter,
    stored_dtype: Callable[[Path], str],
    tmp_path: Path,
) -> None:
    adapter = write_adapter(tiny_expanded, tmp_path / "adapter", tie_head=True)
    report = merge_checkpoint(adapter, tmp_path / "merged", overwrite=False)
    assert (report.dtype, stored_dtype(tmp_path / "merged")) == ("bfloat16", "bfloat16")
    first, last = load_weights_card(tmp_path / "merged").coord_ids or (0, 0)
    old, new = (
        load_base(path, dtype="auto", attn_implementation="sdpa").get_input_embeddings().weight
        for path in (tiny_expanded, tmp_path / "merged")
    )
    assert new.dtype == torch.bfloat16
    moved = (old != new).any(-1).nonzero()[:, 0].tolist()
    assert set(moved) <= set(range(first, last + 1))
    assert len(moved) > 990


@pytest.mark.slow
def test_lora_alone_merges_too(bases: Bases, write_adapter: WriteAdapter, tmp_path: Path) -> None:
    adapter = write_adapter(bases.tied, tmp_path / "adapter", tie_head=None)
    merge_checkpoint(adapter, tmp_path / "merged", overwrite=False)
    old, new = (
        load_base(path, dtype="float32", attn_implementation="sdpa").get_input_embeddings().weight
        for path in (bases.tied, tmp_path / "merged")
    )
    assert torch.equal(old, new)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_merge_leaves_nothing(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(_self: object, dst: Path) -> None:
        (dst / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        merge_checkpoint(adapter, tmp_path / "merged", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_merge_leaves_the_old_one(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: object, _dst: Path) -> None:
        raise KeyboardInterrupt

    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").touch()
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fail)
    with pytest.raises(KeyboardInterrupt):
        merge_checkpoint(adapter, tmp_path / "merged", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["merged", "mine"]


def test_a_merge_that_says_something_else_is_not_written(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget_the_offsets(model: PreTrainedModel) -> None:
        nn.init.zeros_(model.get_input_embeddings().coord_offset_adapter.rows)
        bake_coord_offsets(model)

    monkeypatch.setattr("coordexp.export.merge.bake_coord_offsets", forget_the_offsets)
    with pytest.raises(CoordExpError, match="merged logits differ"):
        merge_checkpoint(adapter, tmp_path / "merged", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_refused_unless_told_otherwise(
    adapter: Path, tmp_path: Path
) -> None:
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").touch()
    with pytest.raises(InputError, match=r"exists already.*--overwrite"):
        merge_checkpoint(adapter, tmp_path / "merged", overwrite=False)
    merge_checkpoint(adapter, tmp_path / "merged", overwrite=True)
    assert not (tmp_path / "merged" / "mine").exists()
    assert (tmp_path / "merged" / "model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_merging_never_removes_what_it_reads(adapter: Path, bases: Bases) -> None:
    for place in (adapter, bases.tied, bases.tied.parent):
        with pytest.raises(InputError, match="writing here would remove"):
            merge_checkpoint(adapter, place, overwrite=True)
    assert (adapter / "adapter_model.safetensors").exists()


def test_a_whole_model_has_nothing_to_merge(plain_merged: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a whole model already"):
        merge_checkpoint(plain_merged, tmp_path / "again", overwrite=False)


def test_a_base_that_is_gone_is_named(
    bases: Bases, write_adapter: WriteAdapter, tmp_path: Path
) -> None:
    moved = tmp_path / "base"
    moved.symlink_to(bases.tied)
    adapter = write_adapter(moved, tmp_path / "adapter", tie_head=True)
    moved.unlink()
    with pytest.raises(CheckpointError, match=r"its base .*base is not there.*weights\.base"):
        merge_checkpoint(adapter, tmp_path / "merged", overwrite=False)


@pytest.mark.slow
def test_the_merged_model_needs_no_coordexp(plain_merged: Path) -> None:
    script = """
import sys
sys.modules["coordexp"] = None
from transformers import AutoModelForImageTextToText
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1])
print(type(model).__name__, type(model.lm_head).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, plain_merged], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["Qwen3VLForConditionalGeneration", "Linear"]
