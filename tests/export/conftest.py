"""Bases with tied and untied tables, and adapters on them as training would leave them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.model.adapters import install_lora
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.fingerprint import rows_fingerprint, tokenizer_fingerprint
from coordexp.model.load import coord_rows, load_base, load_coord_vocab, load_tokenizer
from coordexp.rendering.style import RenderingStyle, style_to_json

STYLE = RenderingStyle(
    system_prompt=None,
    user_prompt="Find every digit.",
    json_format="standard",
    object_ordering="sorted",
    coord_tokens=True,
    alphabet=SPEC_ALPHABET,
    min_pixels=None,
    max_pixels=None,
)


@dataclass(frozen=True)
class Bases:
    """The expanded tiny base in float32, tied and untied."""

    tied: Path
    untied: Path


@pytest.fixture(scope="session")
def bases(tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    out = tmp_path_factory.mktemp("bases")
    model = load_base(tiny_expanded, dtype="float32", attn_implementation="sdpa")
    for name in ("tied", "untied"):
        shutil.copytree(tiny_expanded, out / name)
        if name == "untied":
            head = model.get_output_embeddings()
            head.weight = nn.Parameter(head.weight + 0.01 * torch.randn_like(head.weight))
            model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
        model.save_pretrained(out / name)
    return Bases(tied=out / "tied", untied=out / "untied")


@pytest.fixture(scope="session")
def write_adapter() -> Callable[..., Path]:
    """Write an adapter with random weights; without `tie_head` it has LoRA alone."""

    def write(base: Path, dst: Path, *, tie_head: bool | None, use_dora: bool = False) -> Path:
        torch.manual_seed(0)
        vocab = load_coord_vocab(base, SPEC_ALPHABET)
        model = load_base(base, dtype="float32", attn_implementation="sdpa")
        card = WeightsCard(
            base=str(base),
            tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
            coord_ids=(vocab.ids[0], vocab.ids[-1]),
            coord_rows=rows_fingerprint(coord_rows(model, vocab.ids[0], vocab.ids[-1])),
            tie_head=tie_head,
        )
        if tie_head is not None:
            install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=tie_head)
        adapted = install_lora(
            model,
            towers=["vision", "aligner", "language"],
            leaves=None,
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
        write_card(dst, style=style_to_json(STYLE), weights=card)
        return dst

    return write


@pytest.fixture
def stored_dtype() -> Callable[[Path], str]:
    def read(path: Path) -> str:
        dtype: str = json.loads((path / "config.json").read_text())["dtype"]
        return dtype

    return read
