"""Every combination: tied or untied, `tie_head`, LoRA or DoRA, one file or several, two dtypes."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from coordexp.errors import CheckpointError
from coordexp.export.bake import plan_bake
from coordexp.export.base_layout import load_base_layout, untied_config
from coordexp.export.merge import merge_checkpoint
from coordexp.export.saved_adapter import load_saved_adapter
from coordexp.families.known import FAMILIES
from coordexp.model.card import load_weights_card
from coordexp.model.load import load_checkpoint
from coordexp.model.shards import INDEX_FILE, SINGLE_FILE, load_weights
from tests.export.cases import Cases, MakePath
from tests.families.tiny_models import JOINED

EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"
# Of later families the files in other forms are read and written by the same code, and wait.
FIRST = ("qwen3_vl", "qwen2_5_vl")


def patience(sharded: bool, dtype: str, family: str) -> list[pytest.MarkDecorator]:
    other_form = sharded or dtype != "float32"
    may_wait = family in JOINED or (family not in FIRST and other_form)
    return [pytest.mark.long] if may_wait else []


MATRIX = [
    pytest.param(*combination, id="-".join(names), marks=patience(*combination[3:]))
    for combination, names in zip(
        product(
            (True, False),
            (True, False),
            (False, True),
            (False, True),
            ("float32", "bfloat16"),
            FAMILIES,
        ),
        product(
            ("tied", "untied"),
            ("one", "two"),
            ("lora", "dora"),
            ("file", "shards"),
            ("fp32", "bf16"),
            FAMILIES,
        ),
        strict=True,
    )
]


@pytest.mark.parametrize(("tied", "tie_head", "use_dora", "sharded", "dtype", "family"), MATRIX)
def test_the_written_weights_are_those_that_peft_merges_in_memory(
    tied: bool,
    tie_head: bool,
    use_dora: bool,
    sharded: bool,
    dtype: str,
    family: str,
    cases: Cases,
    small_bases: MakePath,
    on_base: MakePath,
    tmp_path: Path,
) -> None:
    case = cases(tied=tied, tie_head=tie_head, use_dora=use_dora, family=family)
    base = small_bases(tied=tied, dtype=dtype, sharded=sharded, family=family)
    adapter = on_base(case.adapter, base, tmp_path / "adapter")
    report = merge_checkpoint(adapter, tmp_path / "merged", certify=False)

    stored = load_weights(tmp_path / "merged").by_name
    assert stored.keys() >= load_weights(base).by_name.keys()  # the files' own names
    written = load_base_layout(tmp_path / "merged").by_parameter
    one_table = tied and tie_head
    assert report.tied is one_table
    assert (HEAD in written) is not one_table
    assert written.keys() == case.expected.keys() - ({HEAD} if one_table else set())
    for name, tensor in written.items():
        assert torch.equal(tensor.load(), case.expected[name].to(getattr(torch, dtype))), name

    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    blocks = (config, config["text_config"])
    flags = {block["tie_word_embeddings"] for block in blocks if "tie_word_embeddings" in block}
    assert flags == {one_table}
    assert config["dtype"] == dtype == report.dtype
    assert (tmp_path / "merged" / SINGLE_FILE).exists() is not sharded
    if sharded:
        index = json.loads((tmp_path / "merged" / INDEX_FILE).read_text())
        assert index["metadata"]["total_size"] == sum(t.num_bytes for t in written.values())
        assert {path.name for path in (tmp_path / "merged").glob("*.safetensors")} == set(
            index["weight_map"].values()
        )


@pytest.mark.parametrize(("tied", "tie_head"), list(product((True, False), repeat=2)))
def test_merged_in_memory_says_what_the_adapter_says(
    tied: bool, tie_head: bool, cases: Cases
) -> None:
    case = cases(tied=tied, tie_head=tie_head, use_dora=tied)
    ids = torch.randint(0, 1400, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        adapter = load_checkpoint(case.base, case.adapter, dtype="float32").eval()
        expected = adapter(input_ids=ids).logits
        plain = AutoModelForImageTextToText.from_pretrained(case.base)
        before = plain(input_ids=ids).logits
        if not (tied and tie_head):
            plain.lm_head.weight = nn.Parameter(case.expected[HEAD])
        plain.load_state_dict(case.expected)
        torch.testing.assert_close(plain(input_ids=ids).logits, expected, atol=2e-4, rtol=1e-4)
    assert (before - expected).abs().max() > 0.1  # the adapter does something


def test_every_level_of_the_configuration_is_untied(small_bases: MakePath) -> None:
    config = untied_config(small_bases(tied=True))
    assert config["tie_word_embeddings"] is False
    assert config["text_config"]["tie_word_embeddings"] is False


def test_a_table_that_nobody_promised_is_refused(cases: Cases) -> None:
    two = cases(tied=True, tie_head=False, use_dora=False)
    one = cases(tied=True, tie_head=True, use_dora=False)
    with pytest.raises(CheckpointError, match=r"expected coord-offset tables of .*lm_head"):
        plan_bake(
            load_base_layout(two.base),
            load_saved_adapter(one.adapter),
            load_weights_card(two.adapter),
        )


def test_a_layer_that_the_base_lacks_is_refused(cases: Cases) -> None:
    case = cases(tied=True, tie_head=True, use_dora=False)
    adapter = load_saved_adapter(case.adapter)
    name, leaves = adapter.layers.popitem()
    adapter.layers[f"{name}_too"] = leaves
    with pytest.raises(CheckpointError, match="_too, which is no plain linear layer"):
        plan_bake(load_base_layout(case.base), adapter, load_weights_card(case.adapter))


def test_a_quantised_base_is_refused(small_bases: MakePath, tmp_path: Path) -> None:
    config = json.loads((small_bases(tied=True) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": {}}))
    with pytest.raises(CheckpointError, match=r"quantised.*weights\.base"):
        load_base_layout(tmp_path)


def test_names_of_the_files_are_those_of_the_base(tmp_path: Path) -> None:
    # Qwen2.5-VL's files say visual.* and model.*, its modules model.visual.* and
    # model.language_model.*; transformers writes the old names too.
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    sizes = {"hidden_size": 16, "intermediate_size": 16}
    text = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen2_5_VLConfig(
        text_config={"vocab_size": 64, "rope_parameters": rope, **text, **sizes},
        vision_config={"depth": 1, "num_heads": 2, "out_hidden_size": 16, **sizes},
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.save_pretrained(tmp_path)
    layout = load_base_layout(tmp_path)
    assert layout.embedding_table.name == "model.embed_tokens.weight"
    named = dict(model.named_parameters(remove_duplicate=False))
    assert layout.by_parameter.keys() <= named.keys()
    for name, tensor in layout.by_parameter.items():
        assert torch.equal(tensor.load(), named[name]), name
