from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.adapters import install_lora
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    OffsetTable,
    find_offset_head,
    install_coord_offset_adapter,
)
from tests.model.small import small_model

ROWS, IDS = 96, range(60, 80)
TOKENS = torch.tensor([[5, 60, 61, 7, 79, 80, 59, 70, 9]])


@dataclass(frozen=True)
class Setup:
    tied: bool
    tie_head: bool
    lora: str

    def __str__(self) -> str:
        base = "tied" if self.tied else "untied"
        return f"{base}-{'one_table' if self.tie_head else 'two_tables'}-{self.lora}"

    def model(self, leaves: Collection[str] | None = None) -> PreTrainedModel | PeftModel:
        model = small_model(rows=ROWS, tied=self.tied)
        install_coord_offset_adapter(model, coord_ids=IDS, tie_head=self.tie_head)
        return self.adapted(model, leaves)

    def adapted(
        self, model: PreTrainedModel, leaves: Collection[str] | None = None
    ) -> PreTrainedModel | PeftModel:
        if self.lora == "none":
            for name, parameter in model.named_parameters():
                parameter.requires_grad = ADAPTER_NAME in name
            return model
        return install_lora(
            model,
            family=QWEN3_VL,
            towers=("vision", "aligner", "language"),
            leaves=leaves,
            experts=False,
            rank=2,
            alpha=4,
            dropout=0.0,
            use_dora=self.lora == "dora",
        )


SETUPS = [
    Setup(tied, tie_head, lora)
    for tied, tie_head, lora in product([True, False], [True, False], ["none", "lora", "dora"])
]
# Half of the LoRA and DoRA rows run with the slow tests.
every_setup = pytest.mark.parametrize(
    "setup",
    [
        pytest.param(
            setup,
            marks=[pytest.mark.slow] if setup.lora == ("lora" if setup.tied else "dora") else [],
        )
        for setup in SETUPS
    ],
    ids=str,
)


def base_of(model: nn.Module) -> PreTrainedModel:
    return model.get_base_model() if isinstance(model, PeftModel) else model  # type: ignore[return-value]


def tables(model: nn.Module) -> dict[str, Tensor]:
    """Return the tables that learn, by where they are."""
    found = {}
    for name, parameter in model.named_parameters():
        if ADAPTER_NAME in name and parameter.requires_grad:
            found["head" if "lm_head" in name else "embedding"] = parameter
    return found


def randomize(model: nn.Module, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for rows in tables(model).values():
            rows.copy_(0.3 * torch.randn(rows.shape, generator=generator))


@torch.no_grad()
def logits_of(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


# --- what it computes ---


@every_setup
def test_zero_offsets_change_nothing_bit_for_bit(setup: Setup) -> None:
    plain, adapted = small_model(rows=ROWS, tied=setup.tied), setup.model().eval()
    if setup.lora == "dora":  # its norm is computed, so it alone is a no-op up to rounding
        without = small_model(rows=ROWS, tied=setup.tied)
        plain = setup.adapted(without)  # type: ignore[assignment]
        plain.eval()
    assert torch.equal(logits_of(adapted), logits_of(plain))


@every_setup
def test_only_listed_ids_shift(setup: Setup) -> None:
    model = setup.model().eval()
    base = base_of(model)
    everything = torch.arange(ROWS)[None]
    hidden = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedded, scored = base.get_input_embeddings()(everything), base.lm_head(hidden)
        randomize(model)
        embedded_now, scored_now = base.get_input_embeddings()(everything), base.lm_head(hidden)
    inside = torch.zeros(ROWS, dtype=torch.bool)
    inside[list(IDS)] = True
    assert torch.equal(embedded[:, ~inside], embedded_now[:, ~inside])
    assert torch.equal(scored[..., ~inside], scored_now[..., ~inside])
    assert (embedded[:, inside] != embedded_now[:, inside]).all(-1).all()
    assert (scored[..., inside] != scored_now[..., inside]).all()
    rows = tables(model)
    torch.testing.assert_close(embedded_now[0, inside] - embedded[0, inside], rows["embedding"])
    head_rows = rows["embedding" if setup.tie_head else "head"]
    torch.testing.assert_close(
        scored_now[..., inside] - scored[..., inside], hidden @ head_rows.T, rtol=1e-4, atol=1e-5
    )


@every_setup
def test_it_equals_other_rows_in_the_base(setup: Setup) -> None:
    model = setup.model().eval()
    randomize(model)
    rows = tables(model)
    oracle = small_model(rows=ROWS, tied=False)
    oracle.load_state_dict(small_model(rows=ROWS, tied=setup.tied).state_dict())
    with torch.no_grad():
        oracle.get_input_embeddings().weight[IDS.start : IDS.stop] += rows["embedding"]
        oracle.lm_head.weight[IDS.start : IDS.stop] += rows.get("head", rows["embedding"])
    torch.testing.assert_close(logits_of(model), logits_of(oracle), rtol=1e-4, atol=1e-5)


def test_two_tables_are_independent() -> None:
    model = Setup(tied=True, tie_head=False, lora="none").model()
    head = find_offset_head(model)
    assert head is not None
    with torch.no_grad():
        tables(model)["head"].fill_(1.0)
    assert not head.is_tied
    assert (head.offsets() == 1).all()
    assert (tables(model)["embedding"] == 0).all()


def test_a_table_gives_rows_by_bin_and_nothing_for_minus_one() -> None:
    table = OffsetTable(3, 2, dtype=torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        table.rows.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert table(torch.tensor([[2, -1], [0, 2]])).tolist() == [[[5, 6], [0, 0]], [[1, 2], [5, 6]]]
    assert torch.equal(table(), table.rows)


# --- what learns ---


@pytest.mark.parametrize("tie_head", [True, False])
def test_unseen_coord_rows_get_no_gradient_from_the_embedding(tie_head: bool) -> None:
    model = Setup(tied=True, tie_head=tie_head, lora="none").model()
    states = model.get_input_embeddings()(TOKENS)
    states.sum().backward()
    gradient = tables(model)["embedding"].grad
    assert gradient is not None
    seen = {int(token) - IDS.start for token in TOKENS[0] if int(token) in IDS}
    assert {int(k) for k in gradient.abs().sum(-1).nonzero()} == seen


def hundred_steps(*, dtype: torch.dtype, steps: int = 100) -> tuple[Tensor, Tensor]:
    """Return the table of a bf16 model before and after AdamW at 1e-4, as DESIGN has it."""
    model = small_model(rows=ROWS).bfloat16()
    install_coord_offset_adapter(model, coord_ids=IDS, tie_head=True, dtype=dtype)
    (rows,) = tables(model).values()
    with torch.no_grad():
        rows.fill_(0.04)
    before = rows.detach().clone()
    optimizer = torch.optim.AdamW([rows], lr=1e-4, weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
        optimizer.step()
    assert logits_of(model).dtype == torch.bfloat16
    return before, rows.detach()


def test_a_bf16_model_moves_fp32_offsets() -> None:
    before, after = hundred_steps(dtype=torch.float32)
    assert after.dtype == torch.float32
    # Where the gradient keeps its sign AdamW moves a number by about its rate at every step.
    assert 0.5e-2 < (after - before).abs().max() < 2e-2
    assert (before.bfloat16() != after.bfloat16()).any()


def test_bf16_offsets_would_not_move_at_all() -> None:
    """Half the distance between 0.04 and its neighbours in bf16 is more than one step."""
    before, after = hundred_steps(dtype=torch.bfloat16, steps=10)
    assert torch.equal(before, after)


def test_the_table_s_dtype_may_be_the_model_s() -> None:
    model = small_model(rows=ROWS).bfloat16()
    install_coord_offset_adapter(model, coord_ids=IDS, tie_head=True, dtype=torch.bfloat16)
    assert tables(model)["embedding"].dtype == torch.bfloat16


@pytest.mark.parametrize("setup", [Setup(True, True, "none"), Setup(False, False, "lora")], ids=str)
def test_gradient_checkpointing_changes_no_gradient(setup: Setup) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = setup.model().train()
        randomize(model)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
        gradients.append({name: rows.grad for name, rows in tables(model).items()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
