"""What the objective is measured against, each as a function that runs forward and backward once.

Shapes: `T` tokens, `D` width, `V` vocabulary, `K` bins. Only the reference and ours compute the
coord terms. The others do what they can: cross-entropy of every target, or, for ntloss, that and a
Wasserstein distance between numbers.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from coordexp.objective import Backend, CoordTarget, CoordWeights, stage1_loss
from coordexp.objective.masks import IGNORE_INDEX

NUM_BINS = 1000
WEIGHTS = CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0)
GATELESS = CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=0.0)
TARGET = CoordTarget(sigma=2.0, truncate=16, temperature=1.0, w1_unit="bins", w1_target="soft")
# Rows and columns of the bare products that set the limit.
GEMM_ROWS, GEMM_COLUMNS = 2048, 4096


@dataclass(frozen=True)
class Inputs:
    """One batch, and the head it meets; the coord ids are the last of the vocabulary."""

    hidden: Tensor
    head_weight: Tensor
    head_offset: Tensor
    labels: Tensor
    coord_ids: Tensor

    @property
    def supervised(self) -> int:
        """How many tokens have a target."""
        return int((self.labels != IGNORE_INDEX).sum())


def build_inputs(
    *,
    tokens: int,
    width: int,
    vocab: int,
    supervised: float,
    coord: float,
    dtype: torch.dtype,
    device: str,
) -> Inputs:
    """Return random inputs: `coord` is the share of coord tokens among the supervised ones."""
    generator = torch.Generator(device).manual_seed(0)
    where = {"generator": generator, "device": device}
    first_coord = vocab - NUM_BINS
    labels = torch.randint(first_coord, (tokens,), **where)
    bins = torch.randint(NUM_BINS, (tokens,), **where)
    is_coord = torch.rand(tokens, **where) < coord
    labels = torch.where(is_coord, first_coord + bins, labels)
    labels[torch.rand(tokens, **where) >= supervised] = IGNORE_INDEX

    def normal(rows: int, scale: float, dtype: torch.dtype) -> Tensor:
        return (torch.randn(rows, width, **where) * scale).to(dtype)

    return Inputs(
        hidden=normal(tokens, 1.0, dtype),
        head_weight=normal(vocab, 0.02, dtype),
        head_offset=normal(NUM_BINS, 0.01, torch.promote_types(dtype, torch.float32)),
        labels=labels,
        coord_ids=torch.arange(first_coord, vocab, device=device),
    )


Gradients = dict[str, Tensor]


def run_stage1(
    inputs: Inputs,
    backend: Backend,
    *,
    trainable_head: bool = False,
    weights: CoordWeights = WEIGHTS,
) -> Gradients:
    """Run our loss; return it and its gradients."""
    hidden = inputs.hidden.detach().requires_grad_()
    offset = inputs.head_offset.detach().requires_grad_()
    head = inputs.head_weight.detach().requires_grad_(trainable_head)
    output = stage1_loss(
        hidden,
        head,
        inputs.labels,
        coord_ids=inputs.coord_ids,
        head_offset=offset,
        weights=weights,
        target=TARGET,
        denominators=None,
        backend=backend,
    )
    output.loss.backward()
    result = {"loss": output.loss.detach(), "hidden": hidden.grad, "offset": offset.grad}
    return {name: value for name, value in result.items() if value is not None}


def fused_without_gate(inputs: Inputs) -> None:
    """Run our loss with no gate at all: coord rows see no more of the head than its coord rows."""
    is_coord = torch.isin(inputs.labels, inputs.coord_ids)
    first = int(inputs.coord_ids[0])
    parts = (
        (inputs.head_weight, inputs.labels.masked_fill(is_coord, IGNORE_INDEX), 0),
        (
            inputs.head_weight[inputs.coord_ids],
            torch.where(is_coord, inputs.labels - first, IGNORE_INDEX),
            first,
        ),
    )
    hidden = inputs.hidden.detach().requires_grad_()
    offset = inputs.head_offset.detach().requires_grad_()
    losses = [
        stage1_loss(
            hidden,
            head,
            labels,
            coord_ids=inputs.coord_ids - shift,
            head_offset=offset,
            weights=GATELESS,
            target=TARGET,
            denominators=None,
            backend="fused",
        ).loss
        for head, labels, shift in parts
    ]
    torch.stack(losses).sum().backward()


def materialised(inputs: Inputs) -> None:
    """Run cross-entropy on the logits of all tokens, as transformers does without more ado."""
    hidden = inputs.hidden.detach().requires_grad_()
    logits = (hidden @ inputs.head_weight.T).float()
    functional.cross_entropy(logits, inputs.labels).backward()


def torch_linear_cross_entropy(inputs: Inputs) -> None:
    """Run torch's own chunked linear cross-entropy."""
    hidden = inputs.hidden.detach().requires_grad_()
    options = torch.nn.LinearCrossEntropyOptions()
    functional.linear_cross_entropy(
        hidden, inputs.head_weight, inputs.labels, options=options
    ).backward()


def ntloss(inputs: Inputs) -> None:
    """Run cross-entropy and number-token loss, both on materialised logits."""
    from ntloss import NTLoss  # noqa: PLC0415 - optional

    hidden = inputs.hidden.detach().requires_grad_()
    logits = (hidden @ inputs.head_weight.T).float()
    tokenizer = _Tokenizer(len(inputs.head_weight))
    number_loss = NTLoss(tokenizer, vocab_size=len(tokenizer), digit_level=False)
    ce = functional.cross_entropy(logits, inputs.labels)
    (ce + 0.3 * number_loss(logits[None], inputs.labels[None])).backward()


class _Tokenizer:
    """The little that ntloss asks of a tokenizer; coord tokens are the numbers 0 to 999."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    def __len__(self) -> int:
        return self._vocab

    def get_vocab(self) -> dict[str, int]:
        first = self._vocab - NUM_BINS
        return {f"w{v}" if v < first else str(v - first): v for v in range(self._vocab)}


def liger(inputs: Inputs) -> None:
    """Run Liger's fused linear cross-entropy."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss  # noqa: PLC0415

    hidden = inputs.hidden.detach().requires_grad_()
    LigerFusedLinearCrossEntropyLoss()(inputs.head_weight, hidden, inputs.labels).backward()


CONTENDERS: dict[str, Callable[[Inputs], object]] = {
    "fused": lambda inputs: run_stage1(inputs, "fused"),
    "fused, gate_weight 0": lambda inputs: run_stage1(inputs, "fused", weights=GATELESS),
    "fused, no gate": fused_without_gate,
    "triton": lambda inputs: run_stage1(inputs, "triton"),
    "reference": lambda inputs: run_stage1(inputs, "reference"),
    "fused, trainable head": lambda inputs: run_stage1(inputs, "fused", trainable_head=True),
    "reference, trainable head": lambda inputs: run_stage1(
        inputs, "reference", trainable_head=True
    ),
    "materialised CE": materialised,
    "torch linear CE": torch_linear_cross_entropy,
    "Liger CE": liger,
    "CE + ntloss": ntloss,
}


def is_available(contender: str, device: str) -> bool:
    """Return whether a contender can be measured here; an interpreter's time means nothing."""
    if contender in ("triton", "Liger CE") and device == "cpu":
        return False
    if contender == "torch linear CE" and not hasattr(functional, "linear_cross_entropy"):
        return False
    package = {"Liger CE": "liger_kernel", "CE + ntloss": "ntloss"}.get(contender, "torch")
    return importlib.util.find_spec(package) is not None


def bare_products(inputs: Inputs, dtype: torch.dtype) -> Callable[[], float]:
    """Return the two products on part of the vocabulary; the function returns what part it was.

    The part is a few large blocks, the best case for any library: what they take, divided by their
    part, is the least time in which logits and their gradient can be had.
    """
    rows = max(min(GEMM_ROWS, inputs.supervised), 1)
    x = inputs.hidden[:rows].to(dtype)
    blocks = [inputs.head_weight[a : a + GEMM_COLUMNS].to(dtype) for a in (0, GEMM_COLUMNS)]
    z = x.new_empty((rows, GEMM_COLUMNS))
    out = torch.zeros_like(x)

    def run() -> float:
        for block in blocks:
            torch.mm(x, block.T, out=z)
            out.addmm_(z, block)
        done = rows * GEMM_COLUMNS * len(blocks)
        return done / (inputs.supervised * len(inputs.head_weight))

    return run
