from dataclasses import dataclass
from itertools import product

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from coordexp.model.adapters import install_lora
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    OffsetTable,
    find_offset_head,
    install_coord_offset_adapter,
    reattach_coord_offset_hooks,
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

    def model(self) -> PreTrainedModel | PeftModel:
        model = small_model(rows=ROWS, tied=self.tied)
        install_coord_offset_adapter(model, coord_ids=IDS, tie_head=self.tie_head)
        return self.adapted(model)

    def adapted(self, model: PreTrainedModel) -> PreTrainedModel | PeftModel:
        if self.lora == "none":
            for name, parameter in model.named_parameters():
                parameter.requires_grad = ADAPTER_NAME in name
            return model
        return install_lora(
            model,
            towers=("vision", "aligner", "language"),
            leaves=None,
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


def train(model: nn.Module, steps: int) -> torch.optim.Optimizer:
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2, weight_decay=0.1)
    model.train()
    for _ in range(steps):
        loss = model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return optimizer


@every_setup
def test_only_offsets_and_lora_learn(setup: Setup) -> None:
    model = setup.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = train(model, steps=2)
    learned = ("lora_", f"{ADAPTER_NAME}.modules_to_save")
    for name, parameter in model.named_parameters():
        may_learn = (
            f"{ADAPTER_NAME}.rows" in name
            if setup.lora == "none"
            else any(part in name for part in learned)
        )
        assert parameter.requires_grad == may_learn, name
        assert may_learn or parameter.grad is None
    for name, value in model.state_dict().items():
        if not any(part in name for part in ("lora_", ADAPTER_NAME)):
            assert torch.equal(value, before[name]), name
    for rows in tables(model).values():
        assert (rows != 0).any()
    assert len(tables(model)) == (1 if setup.tie_head else 2)
    assert len(optimizer.state) == sum(p.grad is not None for p in model.parameters())
    reattach_coord_offset_hooks(model)


@pytest.mark.parametrize("tie_head", [True, False])
def test_unseen_coord_rows_get_no_gradient_from_the_embedding(tie_head: bool) -> None:
    model = Setup(tied=True, tie_head=tie_head, lora="none").model()
    states = model.get_input_embeddings()(TOKENS)
    states.sum().backward()
    gradient = tables(model)["embedding"].grad
    assert gradient is not None
    seen = {int(token) - IDS.start for token in TOKENS[0] if int(token) in IDS}
    assert {int(k) for k in gradient.abs().sum(-1).nonzero()} == seen


def test_bf16_models_move_fp32_offsets_that_bf16_would_swallow() -> None:
    model = small_model(rows=ROWS).bfloat16()
    install_coord_offset_adapter(model, coord_ids=IDS, tie_head=True)
    (rows,) = tables(model).values()
    assert rows.dtype == torch.float32
    with torch.no_grad():
        rows.fill_(0.04)
    optimizer = torch.optim.AdamW([rows], lr=1e-5, weight_decay=0.0)
    model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
    optimizer.step()
    assert (rows != 0.04).any()
    assert (rows.bfloat16() == torch.tensor(0.04).bfloat16()).all()
    assert logits_of(model).dtype == torch.bfloat16


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
