"""Small bases in every form that they come in, and adapters as training would leave them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Qwen3VLForConditionalGeneration

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.export import plain_reload
from coordexp.export.in_memory import merge_in_memory
from coordexp.families.known import DEFAULT_FAMILY, load_family
from coordexp.model.adapters import install_lora
from coordexp.model.card import WeightsCard, load_card_section, load_weights_card, write_card
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.fingerprint import rows_fingerprint, stored_rows, tokenizer_fingerprint
from coordexp.model.load import load_base, load_checkpoint, load_coord_vocab, load_tokenizer
from coordexp.model.shard_writing import split_by_size, write_weights
from coordexp.model.shards import SINGLE_FILE, read_shard
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.rendering.style import style_to_json
from coordexp.tiny.model import build_config, build_tokenizer, write_base
from tests.export.cases import Case, Cases, MakePath, ReadCertificate
from tests.families.tiny_mixture import write_tiny_qwen3_vl_moe
from tests.families.tiny_models import write_tiny_qwen2_5_vl
from tests.families.tiny_recurrent import write_tiny_qwen3_5, write_tiny_qwen3_5_moe
from tests.rendering.plain import PLAIN_STYLE


@pytest.fixture(scope="session")
def small_bases(tmp_path_factory: pytest.TempPathFactory) -> MakePath:
    """Return a base with coord tokens: tied or not, in float32 or bfloat16, one file or several.

    All of a family hold the same numbers, so that an adapter fits each base of the same tying.
    """
    out = tmp_path_factory.mktemp("bases")

    @cache
    def expanded(family: str) -> Path:
        plain, tied = out / f"{family}-plain", out / f"{family}-tied"
        SHALLOW[family](plain)
        expand_vocabulary(plain, tied, alphabet=SPEC_ALPHABET, init="digits")
        return tied

    @cache
    def written(family: str, tied: bool, dtype: str, sharded: bool) -> Path:
        path = out / f"{family}-{tied}-{dtype}-{sharded}"
        shutil.copytree(expanded(family), path)
        loaded = load_base(expanded(family), dtype="float32", attn_implementation="sdpa")
        if not tied:
            head = loaded.get_output_embeddings()
            noise = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(1))
            rows = (head.weight + 0.01 * noise).bfloat16().float()
            head.weight = nn.Parameter(rows)
            for block in (loaded.config, loaded.config.text_config):
                if hasattr(block, "tie_word_embeddings"):
                    block.tie_word_embeddings = False
        loaded.to(getattr(torch, dtype)).save_pretrained(path)
        if sharded:
            shard(path)
        return path

    def base(
        *, tied: bool, dtype: str = "float32", sharded: bool = False, family: str = DEFAULT_FAMILY
    ) -> Path:
        return written(family, tied, dtype, sharded)

    return base


def write_qwen3_vl(path: Path) -> None:
    tokenizer = build_tokenizer()
    config = build_config(tokenizer)
    config.text_config.num_hidden_layers = config.vision_config.depth = 1
    config.vision_config.deepstack_visual_indexes = [0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    write_base(path, model, tokenizer)


SHALLOW: dict[str, Callable[[Path], None]] = {
    "qwen3_vl": write_qwen3_vl,
    "qwen2_5_vl": partial(write_tiny_qwen2_5_vl, layers=1),
    "qwen3_5": partial(write_tiny_qwen3_5, layers=2),
    "qwen3_vl_moe": partial(write_tiny_qwen3_vl_moe, layers=1),
    "qwen3_5_moe": partial(write_tiny_qwen3_5_moe, layers=2),
}
"""As few layers as there are kinds."""


def shard(path: Path) -> None:
    """Cut a checkpoint's one file into several with an index."""
    kept = (path / SINGLE_FILE).rename(path / "whole.safetensors")
    tensors, metadata = read_shard(kept)
    third = kept.stat().st_size // 3
    write_weights(path, split_by_size(tensors, max_bytes=third), metadata=metadata)
    kept.unlink()


@pytest.fixture(scope="session")
def write_adapter() -> MakePath:
    """Write an adapter with random weights; without `tie_head` it has LoRA alone."""

    def write(base: Path, dst: Path, *, tie_head: bool | None, use_dora: bool = False) -> Path:
        torch.manual_seed(0)
        vocab, family = load_coord_vocab(base, SPEC_ALPHABET), load_family(base)
        ids = (vocab.ids[0], vocab.ids[-1])
        model = load_base(base, dtype="float32", attn_implementation="sdpa")
        card = WeightsCard(
            base=str(base),
            tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
            coord_ids=ids,
            coord_rows=rows_fingerprint(stored_rows(base, ids, family.vocabulary)),
            tie_head=tie_head,
        )
        if tie_head is not None:
            install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=tie_head)
        adapted = install_lora(
            model,
            family=family,
            towers=["vision", "aligner", "language"],
            leaves=None,
            experts=False,
            rank=2,
            alpha=4,
            dropout=0.0,
            use_dora=use_dora,
        )
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn_like(parameter))
        adapted.save_pretrained(dst)
        write_card(dst, style=style_to_json(PLAIN_STYLE), weights=card, classes=["yak", "ant"])
        return dst

    return write


@pytest.fixture(scope="session")
def cases(
    small_bases: MakePath,
    write_adapter: MakePath,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cases:
    """Return the case of a combination, made once."""
    out = tmp_path_factory.mktemp("adapters")

    @cache
    def case(*, tied: bool, tie_head: bool, use_dora: bool, family: str = DEFAULT_FAMILY) -> Case:
        base = small_bases(tied=tied, family=family)
        path = out / f"{family}-{tied}-{tie_head}-{use_dora}"
        adapter = write_adapter(base, path, tie_head=tie_head, use_dora=use_dora)
        whole = merge_in_memory(load_checkpoint(base, adapter, dtype="float32"))
        return Case(tied, tie_head, use_dora, base, adapter, whole.state_dict())

    return case


@pytest.fixture(scope="session")
def on_base() -> MakePath:
    """Write a copy of an adapter that belongs to another form of its base."""

    def copy(adapter: Path, base: Path, dst: Path) -> Path:
        shutil.copytree(adapter, dst)
        style = load_card_section(adapter, "style")
        assert isinstance(style, dict)
        write_card(dst, style=style, weights=replace(load_weights_card(adapter), base=str(base)))
        return dst

    return copy


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certify without starting a process and on little: seconds for the one test that does."""
    monkeypatch.setattr("coordexp.export.probe.NUM_RECORDS", 2)
    monkeypatch.setattr("coordexp.export.probe.NEW_TOKENS", 6)
    monkeypatch.setattr("coordexp.export.certify.answer_in_isolation", plain_reload.answer_plainly)


@pytest.fixture
def certificate_of() -> ReadCertificate:
    def read(path: Path) -> dict[str, Any]:
        return json.loads((path / "coordexp_certificate.json").read_text())

    return read
