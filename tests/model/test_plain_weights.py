from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel

from coordexp.errors import CheckpointError
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.plain_weights import (
    TABLES_NAME,
    keeps_own_tables,
    load_offset_tables,
    plain_weights,
    save_offset_tables,
)
from tests.model.small import load_weights, small_model
from tests.model.test_coord_offset import (
    IDS,
    ROWS,
    Setup,
    base_of,
    logits_of,
    randomize,
    tables,
)

every_tying = pytest.mark.parametrize(
    ("tied", "tie_head"), list(product([True, False], [True, False]))
)


def with_offsets(*, tied: bool, tie_head: bool) -> PreTrainedModel:
    model = base_of(Setup(tied, tie_head, "none").model()).eval()
    randomize(model)
    return model


@every_tying
def test_the_plain_model_computes_the_same(tmp_path: Path, tied: bool, tie_head: bool) -> None:
    model = with_offsets(tied=tied, tie_head=tie_head)
    with plain_weights(model) as weights:
        model.save_pretrained(tmp_path, state_dict=weights)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype="float32").eval()
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=1e-4, atol=1e-5)
    stays_tied = tied and tie_head
    head, embedding = plain.get_output_embeddings(), plain.get_input_embeddings()
    assert (head.weight is embedding.weight) == stays_tied
    assert ("lm_head.weight" in load_weights(tmp_path)) != stays_tied
    assert not any("coord_offset" in name or ".base." in name for name in load_weights(tmp_path))
    # The model itself is as it was.
    assert model.config.tie_word_embeddings == model.config.text_config.tie_word_embeddings == tied
    torch.testing.assert_close(
        base_of(model).get_input_embeddings().weight,
        small_model(rows=ROWS, tied=tied).get_input_embeddings().weight,
        rtol=0,
        atol=0,
    )


@every_tying
def test_all_other_rows_are_the_base_s_bit_for_bit(tied: bool, tie_head: bool) -> None:
    base = small_model(rows=ROWS, tied=tied).state_dict()
    with plain_weights(with_offsets(tied=tied, tie_head=tie_head)) as weights:
        for name, tensor in weights.items():
            outside = torch.ones(len(tensor), dtype=torch.bool)
            if "embed_tokens" in name or "lm_head" in name:
                outside[IDS.start : IDS.stop] = False
                assert not torch.equal(tensor[~outside], base[name][~outside])
            assert torch.equal(tensor[outside], base[name][outside])


def test_offsets_are_added_in_float32_and_rounded_once() -> None:
    model = small_model(rows=ROWS).bfloat16()
    install_coord_offset_adapter(model, coord_ids=IDS, tie_head=True)
    randomize(model)
    exact = model.get_input_embeddings().weight[60:80].float() + tables(model)["embedding"]
    with plain_weights(model) as weights:
        rows = weights["model.language_model.embed_tokens.weight"][60:80]
    assert torch.equal(rows, exact.bfloat16())


@pytest.mark.parametrize("tie_head", [True, False])
def test_tables_come_back_bit_for_bit(tmp_path: Path, tie_head: bool) -> None:
    model = with_offsets(tied=True, tie_head=tie_head)
    save_offset_tables(model, tmp_path)
    fresh = base_of(Setup(True, tie_head, "none").model()).eval()
    load_offset_tables(fresh, tmp_path)
    assert torch.equal(logits_of(fresh), logits_of(model))
    assert all(parameter.requires_grad for parameter in tables(fresh).values())


def test_tables_of_another_make_are_refused(tmp_path: Path) -> None:
    save_offset_tables(with_offsets(tied=True, tie_head=False), tmp_path)
    with pytest.raises(CheckpointError, match=r"holds .*lm_head.*, the model has"):
        load_offset_tables(with_offsets(tied=True, tie_head=True), tmp_path)
    other = small_model(rows=ROWS)
    install_coord_offset_adapter(other, coord_ids=range(60, 70), tie_head=False)
    with pytest.raises(CheckpointError, match=r"the shape \(20, 32\), the model's \(10, 32\)"):
        load_offset_tables(other, tmp_path)
    (tmp_path / TABLES_NAME).write_text("cut off")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_offset_tables(other, tmp_path)


def test_adapters_and_plain_models_are_left_to_others() -> None:
    assert keeps_own_tables(Setup(True, True, "none").model())
    assert not keeps_own_tables(Setup(True, True, "lora").model())
    assert not keeps_own_tables(small_model(rows=ROWS))
    with (
        pytest.raises(CheckpointError, match="expected a transformers model with"),
        plain_weights(small_model(rows=ROWS)),
    ):
        pass
