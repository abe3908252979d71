"""What every combination promises: base, tables, adapter, and how the model is run.

    python -m tests.model.offset_matrix

checks the compiled ones. They run outside pytest, whose shape checks cannot be compiled.
"""

import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from coordexp.model.coord_offset import ADAPTER_NAME, reattach_coord_offset_hooks
from tests.model.test_coord_offset import (
    IDS,
    ROWS,
    SETUPS,
    TOKENS,
    Setup,
    base_of,
    randomize,
    tables,
)

Run = Callable[..., Tensor]
STEPS = 20
WITHOUT_COORD_IDS = torch.tensor([[5, 59, 80, 7, 3, 95, 0, 11, 9]])


def prepared(setup: Setup, way: str) -> tuple[nn.Module, Run]:
    """Return a model and what runs it: tokens to loss and logits."""
    # Every adapted layer costs tracing; one kind of them will do there.
    model = setup.model(leaves=("q_proj", "qkv", "linear_fc1") if way == "compiled" else None)
    model.train()
    if way == "checkpointing":
        base_of(model).gradient_checkpointing_enable({"use_reentrant": False})
    if way != "compiled":
        return model, model
    torch.compiler.reset()
    if setup.lora != "dora" and setup.tied:
        return model, torch.compile(model, backend="eager", fullgraph=True)
    # PEFT's DoRA breaks the graph in every layer and takes ten seconds to trace. There, and where
    # only the tables are others, what is ours is compiled and the layers between are not.
    base = base_of(model)
    for module in (base.get_input_embeddings(), base.get_output_embeddings()):
        module.compile(backend="eager", fullgraph=True)
    return model, model


def output(run: Run, tokens: Tensor) -> tuple[Tensor, Tensor]:
    result = run(input_ids=tokens, labels=tokens, use_cache=False)
    return result.loss, result.logits.detach()


def learns(name: str) -> bool:
    return "lora_" in name or f"{ADAPTER_NAME}.rows" in name or f"{ADAPTER_NAME}.modules" in name


def check(setup: Setup, way: str) -> None:
    """Only offsets and LoRA learn, and only listed ids shift."""
    model, run = prepared(setup, way)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_that_only_listed_ids_shift(model, run)

    # Gradients and optimizer state belong to what learns, and nothing else moves.
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2, weight_decay=0.1)
    first = {where: rows.detach().clone() for where, rows in tables(model).items()}
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss, _ = output(run, TOKENS)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == learns(name), name
        assert parameter.grad is None or learns(name), name
    for name, value in model.state_dict().items():
        if not learns(name) and "lora_" not in name:
            assert torch.equal(value, before[name]), name
    assert set(tables(model)) == ({"embedding"} if setup.tie_head else {"embedding", "head"})
    for where, rows in tables(model).items():
        assert (rows != first[where]).any(-1).any()
    assert set(optimizer.state) == {p for p in learning if p.grad is not None}
    reattach_coord_offset_hooks(model)


def check_that_only_listed_ids_shift(model: nn.Module, run: Run) -> None:
    inside = torch.zeros(ROWS, dtype=torch.bool)
    inside[list(IDS)] = True
    embedding, everything = base_of(model).get_input_embeddings(), torch.arange(ROWS)
    embedded, (_, scored) = embedding(everything), output(run, WITHOUT_COORD_IDS)
    randomize(model)
    embedded_now, (_, scored_now) = embedding(everything), output(run, WITHOUT_COORD_IDS)
    assert torch.equal(embedded[~inside], embedded_now[~inside])
    assert torch.equal(scored[..., ~inside], scored_now[..., ~inside])
    assert (embedded[inside] != embedded_now[inside]).all(-1).all()
    assert (scored[..., inside] != scored_now[..., inside]).all()


def check_inductor() -> None:
    """The compiler that `torch.compile` takes when nobody asks for another changes nothing."""
    setup = Setup(tied=True, tie_head=False, lora="none")
    base = base_of(setup.model())
    randomize(base)
    embedding, head = base.get_input_embeddings(), base.get_output_embeddings()

    def whole_way(tokens: Tensor) -> Tensor:
        scored: Tensor = head(embedding(tokens))
        return scored

    torch.compiler.reset()
    gradients = []
    for run in (whole_way, torch.compile(whole_way, fullgraph=True)):
        base.zero_grad()
        run(TOKENS).square().mean().backward()
        gradients.append({where: rows.grad for where, rows in tables(base).items()})
    for where, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][where], gradient)


if __name__ == "__main__":
    for each in SETUPS:
        check(each, "compiled")
    if shutil.which("g++"):
        check_inductor()
