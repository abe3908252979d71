"""Measure what the coord-offset adapter costs, beside no adapter and PEFT's trainable tokens.

    python benchmarks/coord_offset.py

Forward and backward of embedding and head at V = 152,670 and D = 1024, of which 1000 rows learn.
The gradient of the hidden states is computed too, as it is in training. Each contender runs in a
process of its own for memory, and all of them in one process, round by round, for time. Times are
the process's CPU seconds, medians over the rounds; memory is the peak beyond the weights. The
figures go to standard output, and with the machine's name to `benchmarks/results/`.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from objective import cpu_clock, machine_name, peak, reset_peak
from results import results_path, write_results
from torch import Tensor, nn

VOCAB, WIDTH, FIRST, BINS = 152_670, 1024, 151_670, 1000
COORD_SHARE = 0.4
CONTENDERS = ("no adapter", "coord offsets", "coord offsets, two tables", "PEFT trainable tokens")

Step = Callable[[], Tensor]


class Ends(nn.Module):
    """The two ends of a language model, tied, and nothing between them."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, WIDTH, dtype=dtype)
        self.lm_head = nn.Linear(WIDTH, VOCAB, bias=False, dtype=dtype)
        with torch.no_grad():
            self.embed_tokens.weight.normal_(std=0.02)
        self.lm_head.weight = self.embed_tokens.weight
        self.requires_grad_(requires_grad=False)


def build(name: str, dtype: torch.dtype, tokens: int) -> Step:
    """Return one forward and backward pass of a contender."""
    torch.manual_seed(0)
    ends = Ends(dtype)
    if name.startswith("coord offsets"):
        install(ends, tie_head="two tables" not in name)
    elif name.startswith("PEFT"):
        wrap_by_peft(ends)
    ids = torch.randint(0, FIRST, (1, tokens))
    coord = torch.rand(ids.shape) < COORD_SHARE
    ids[coord] = torch.randint(FIRST, FIRST + BINS, (int(coord.sum()),))
    # What the layers between them add; its gradient is the one that they would get.
    between = torch.zeros(1, tokens, WIDTH, dtype=dtype, requires_grad=True)

    def step() -> Tensor:
        ends.zero_grad()
        between.grad = None
        logits = ends.lm_head(ends.embed_tokens(ids) + between)
        # A gradient for every logit without a second buffer of their size.
        logits.backward(logits.detach())
        return between.grad

    return step


def install(ends: Ends, *, tie_head: bool) -> None:
    """Put our wrappers around the two ends."""
    from coordexp.model.coord_offset import (  # noqa: PLC0415
        OffsetEmbedding,
        OffsetHead,
        OffsetTable,
    )

    def table() -> OffsetTable:
        return OffsetTable(BINS, WIDTH, dtype=torch.float32, device=torch.device("cpu"))

    place = {"first_id": FIRST, "num_bins": BINS}
    embedding = OffsetEmbedding(ends.embed_tokens, table(), **place)
    own = None if tie_head else table()
    ends.lm_head = OffsetHead(ends.lm_head, own, embedding, **place)
    ends.embed_tokens = embedding


def wrap_by_peft(ends: Ends) -> None:
    """Let PEFT train the same rows, tied."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer  # noqa: PLC0415

    rows = list(range(FIRST, FIRST + BINS))

    def wrap(module: nn.Module, tied: TrainableTokensLayer | None) -> TrainableTokensLayer:
        layer = TrainableTokensLayer(module, "default", tied_adapter=tied)
        layer.update_layer("default", token_indices=rows, init_weights=True, tied_adapter=tied)
        layer.set_adapter("default")
        return layer

    ends.embed_tokens = wrap(ends.embed_tokens, None)
    ends.lm_head = wrap(ends.lm_head, ends.embed_tokens)


def main() -> None:
    """Run all cases, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.worker:
        name, dtype, tokens = arguments.worker
        print(memory(build(name, getattr(torch, dtype), int(tokens))))
        return
    rows = [
        row
        for tokens in arguments.tokens
        for dtype in ("float32", "bfloat16")
        for row in case(dtype, tokens, arguments.rounds)
    ]
    write_results(results_path("coord-offset"), {"machine": machine_name("cpu", 1), "rows": rows})


def case(dtype: str, tokens: int, rounds: int) -> list[dict[str, object]]:
    """Return time and memory of every contender."""
    print(f"\n{dtype}, N = {tokens}, V = {VOCAB}, D = {WIDTH}", flush=True)
    steps = {name: build(name, getattr(torch, dtype), tokens) for name in CONTENDERS}
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(cpu_clock(step))
    del steps, step
    rows: list[dict[str, object]] = []
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--worker", name, dtype, str(tokens)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        ratios = [
            ours / none for ours, none in zip(seconds[name], seconds[CONTENDERS[0]], strict=True)
        ]
        row = {
            "contender": name,
            "dtype": dtype,
            "tokens": tokens,
            "seconds": statistics.median(seconds[name]),
            "over no adapter": statistics.median(ratios),
            "peak MB": float(done.stdout.splitlines()[-1]),
        }
        row["MB over no adapter"] = row["peak MB"] - (
            rows[0]["peak MB"] if rows else row["peak MB"]
        )
        rows.append(row)
        print(
            f"    {name:28} {row['seconds']:.3f} s  {row['over no adapter']:.3f}x  "
            f"{row['peak MB']:.0f} MB  {row['MB over no adapter']:+.0f} MB",
            flush=True,
        )
    return rows


def memory(step: Step) -> float:
    """Return the peak of a pass beyond what was in use before it, in megabytes."""
    step()
    before = reset_peak("cpu")
    step()
    return (peak("cpu") - before) / 1e6


if __name__ == "__main__":
    main()
