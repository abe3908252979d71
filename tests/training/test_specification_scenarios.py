"""Scenarios of the specification that no module's own tests hold as a whole."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

import coordexp
from coordexp.config.custom import CoordOffset, CoordTokens
from coordexp.config.load import check_config
from coordexp.config.schema import Config
from coordexp.errors import CheckpointError, ConfigError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.adapters import lora_target_pattern
from coordexp.model.coord_offset import find_offset_head
from coordexp.model.load import load_base, load_tokenizer
from coordexp.objective import CoordTarget, CoordWeights
from coordexp.training.run.build import (
    build_learner,
    build_vocab,
    install_offsets,
    lora_places,
)
from coordexp.training.run.stage1 import train

MakeConfig = Callable[..., Config]
OFF = {
    "custom": {"coord_offset": {"enabled": False}},
    "training": {"optimizer": "multimodal"},
}


@pytest.mark.slow
def test_with_the_feature_off_everything_is_as_without_it(
    make_config: MakeConfig, tiny_expanded: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", **OFF)
    torch.manual_seed(0)
    learner = build_learner(config, build_vocab(config), load_tokenizer(tiny_expanded))
    torch.manual_seed(0)
    plain = get_peft_model(
        load_base(tiny_expanded, dtype="float32", attn_implementation="sdpa"),
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=lora_target_pattern(QWEN3_VL.towers, *lora_places(config)),
        ),
    )
    ours, theirs = dict(learner.model.named_parameters()), dict(plain.named_parameters())
    assert ours.keys() == theirs.keys()
    assert not any("coord_offset" in name for name in ours)
    for name, parameter in ours.items():
        assert torch.equal(parameter, theirs[name])
        assert parameter.requires_grad == theirs[name].requires_grad
    tokens = torch.tensor([[5, 300, 301, 7]])
    assert torch.equal(
        learner.model.eval()(input_ids=tokens).logits, plain.eval()(input_ids=tokens).logits
    )


def test_the_specification_s_ids_are_the_thousand_bins() -> None:
    block = CoordOffset.model_validate_json('{"ids": {"start": 151670, "end": 152669}}')
    ids = block.given_ids()
    assert ids is not None
    assert (len(ids), ids[0], ids[-1]) == (1000, 151670, 152669)
    assert 151669 not in ids  # the wildcard's
    assert CoordOffset().given_ids() is None  # the tokenizer's


def test_other_ids_than_the_base_s_are_refused_before_anything_is_written(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """The tiny base has a small vocabulary: the ids of the real one do not fit it."""
    ids = {"start": 151670, "end": 152669}
    config = make_config(tmp_path / "run", custom={"coord_offset": {"enabled": True, "ids": ids}})
    with pytest.raises(CheckpointError, match=r"custom\.coord_offset\.ids: got 1000 ids"):
        train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("auto", torch.float32),
        ("model", torch.bfloat16),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
    ],
)
def test_the_tables_have_the_dtype_that_is_asked_for(
    make_config: MakeConfig, tiny_expanded: Path, tmp_path: Path, dtype: str, expected: torch.dtype
) -> None:
    offset = {"enabled": True, "dtype": dtype}
    config = make_config(tmp_path / "run", custom={"coord_offset": offset})
    base = load_base(tiny_expanded, dtype="bfloat16", attn_implementation="sdpa")
    install_offsets(config, base, build_vocab(config))
    head = find_offset_head(base)
    assert head is not None
    assert head.offsets().dtype == expected


def test_coord_tokens_require_the_coord_loss() -> None:
    raw = {"model": {"path": "m"}, "training": {"output_dir": "o"}, "data": {"train": "t"}}
    with pytest.raises(ConfigError, match=r"coord tokens need custom\.coord_soft_ce_w1\.enabled"):
        check_config({**raw, "custom": {"coord_tokens": {"enabled": True}}}, name="run.yaml")


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("skip", [True, False])
def test_boxes_are_left_alone_exactly_when_both_keys_are_true(*, enabled: bool, skip: bool) -> None:
    """A template of ms-swift's is one with a `normalize_bbox`; its own is tried where it is."""

    def scale(inputs: SimpleNamespace) -> None:
        inputs.objects["bbox"] = "scaled"

    template = SimpleNamespace(normalize_bbox=scale)
    coordexp.apply_coord_template_adapter(
        template, CoordTokens(enabled=enabled, skip_bbox_norm=skip)
    )
    inputs = SimpleNamespace(objects={"bbox": [[1, 2, 3, 4]]})
    template.normalize_bbox(inputs)
    assert (inputs.objects["bbox"] == [[1, 2, 3, 4]]) == (enabled and skip)


def test_the_text_term_is_the_native_loss_on_masked_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(12, 4, generator=generator), torch.randn(20, 4, generator=generator)
    labels = torch.randint(20, (12,), generator=generator)
    labels[3] = -100
    coord_ids = torch.arange(6, 14)
    output = coordexp.stage1_loss(
        hidden,
        head,
        labels,
        coord_ids=coord_ids,
        head_offset=None,
        weights=CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0),
        target=CoordTarget(2.0, 16, 1.0, "fraction", "soft"),
        denominators=None,
        backend="reference",
    )
    masked = labels.masked_fill(torch.isin(labels, coord_ids), -100)
    native = functional.cross_entropy(hidden @ head.T, masked)
    torch.testing.assert_close(output.sums["text"] / output.counts.text, native)
