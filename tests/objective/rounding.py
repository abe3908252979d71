r"""What a loss must give on every processor, however it rounds, and how far it may be from that.

A reference in a small type sets no bar: its own error is a sum of a few dozen roundings of either
sign, which is large on one seed and next to nothing on another. So the bound is derived, in two
steps.

**The logits are known, bit for bit.** `on_a_grid` makes hidden states multiples of 1/16, head rows
of 1/32 and offsets of 1/256. Products are then multiples of 1/4096, and so are all partial sums of
a dot product; none reaches :math:`2^{24} / 4096`, so float32 holds each of them exactly. Whatever
instructions multiply, in whatever order, the exact logit comes out, and is rounded once to the type
of the products, as are the coord rows with their offsets. `stored` does just this, in float64.

**What follows is float32.** With :math:`e = 2^{-24}`, half a step, and nothing assumed of the order
of a sum:

- logsumexp over n logits, less one of them: :math:`d_n = e\,(n + 8 L)`, with L the largest |logit|
  and logsumexp: n for a sum of n exponentials, the rest for subtracting, exponential, logarithm
  and adding, each of a unit or two in the last place.
- a cross-entropy :math:`d_n`; the gate, a difference of two logsumexps, :math:`2 d_n`; W1 in bins,
  K cumulative sums of K probabilities, :math:`5 K d_K`; N of these summed, N times as much.
- a probability :math:`d_n` of itself, the mass of the coord ids :math:`2 d_n`.
- for the sum itself, and for its weights q, :math:`e\,(N + 2K + 16)` of the sum.

Gradients are products of slopes and of hidden states or head rows. With u half a step of the
products' type, a slope is rounded to it, the product is, and the sum of two products may be:
:math:`3 u \sum |slope| |x|`. The float32 part is :math:`e\,(2 V + 64)` of the same with the parts
that a slope is the sum of. Last, half a step of the type that the gradient is handed out in.

Nothing here has been measured. `test_fused_digits.py` plants losses of digits and sees them found.
Not covered: a temperature other than 1, logits of float16 below its normal range.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coordexp.objective.backends import reference as stage1
from tests.objective.fused_cases import Case, Result

E = torch.finfo(torch.float32).eps / 2


def on_a_grid(case: Case) -> Case:
    """Return a case whose dot products are exact in float32, in any order."""

    def rounded(x: Tensor, steps: int) -> Tensor:
        return (x * steps).round() / steps

    assert case.head_offset is not None
    return replace(
        case,
        hidden=rounded(case.hidden, 16),
        head_weight=rounded(case.head_weight, 32),
        head_offset=rounded(case.head_offset, 256),
    )


@dataclass(frozen=True)
class Stored:
    """The result in float64 on logits as a type stores them.

    Args:
        result: Sums and gradients.
        text: Logits of the text rows, with their gradient.
        coord: Those of the coord rows.
        rows: The head as it is multiplied with.
    """

    result: Result
    text: Tensor
    coord: Tensor
    rows: Tensor


def stored(case: Case, products: torch.dtype, *, trainable_head: bool = False) -> Stored:
    """Return what a case gives whose products are taken, and stored, in `products`."""
    kept: list[Tensor] = []
    heads: list[Tensor] = []

    def once(x: Tensor) -> Tensor:
        # The gradient passes a rounding as if it were none.
        return x + (x.detach().to(products).double() - x.detach())

    def logits(hidden: Tensor, head: Tensor, ids: Tensor, offset: Tensor) -> Tensor:
        rows = once(head.index_add(0, ids, offset))
        z = once(hidden @ rows.T)
        z.retain_grad()
        kept.append(z)
        heads.append(rows.detach())
        return z

    assert case.target.temperature == 1
    assert case.weights.teach_outside
    original: Callable[..., Tensor] = stage1._logits
    stage1._logits = logits
    try:
        result = replace(case, device="cpu").run("reference", trainable_head=trainable_head)
    finally:
        stage1._logits = original
    return Stored(result, kept[0], kept[1], heads[0])


def bounds(
    case: Case, exact: Stored, *, products: torch.dtype, handed_out: torch.dtype
) -> dict[str, Tensor]:
    """Return how far each number may be from the exact one: a number, or one for each element.

    Args:
        case: That was run.
        exact: What `stored` says of it.
        products: The type that products are taken in.
        handed_out: The type of the hidden states, the head and their gradients.
    """
    allowed = _sums(case, exact)
    u = torch.finfo(products).eps / 2
    text, coord = _slopes(case, exact)
    weight = exact.rows.abs()
    wide = torch.promote_types(handed_out, torch.float32)
    labels = case.labels
    is_coord = torch.isin(labels, case.coord_ids)
    is_text = (labels >= 0) & ~is_coord
    x = {"text": case.hidden[is_text].abs(), "coord": case.hidden[is_coord].abs()}

    def product(text_factor: Tensor, coord_factor: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.zeros_like(case.hidden)
        hidden[is_text], hidden[is_coord] = text_factor @ weight, coord_factor @ weight
        return hidden, text_factor.T @ x["text"] + coord_factor.T @ x["coord"]

    low = product(3 * u * text[0], 3 * u * coord[0])
    vocab = len(weight)
    full = product(E * (2 * vocab + 64) * text[1], E * (2 * vocab + 64) * coord[1])
    hidden, head = (a + b for a, b in zip(low, full, strict=True))
    errors = {"hidden": hidden, "head": head, "offset": head[case.coord_ids]}
    for name, gradient in exact.result.gradients.items():
        dtype = wide if name == "offset" else handed_out
        allowed[name] = errors[name] + torch.finfo(dtype).eps / 2 * gradient.abs()
    return allowed


def _sums(case: Case, exact: Stored) -> dict[str, Tensor]:
    output, bins = exact.result.output, len(case.coord_ids)
    vocab, num_coord, num_text = len(exact.rows), output.counts.coord, output.counts.text
    text_row = E * (vocab + 8 * _largest(exact.text))
    coord_row = E * (vocab + 8 * _largest(exact.coord))
    among_coords = E * (bins + 8 * _largest(exact.coord))
    of_rows = {
        "text": num_text * text_row,
        "ce": num_coord * among_coords,
        "soft_ce": num_coord * among_coords,
        "w1": num_coord * 5 * bins * among_coords,
        "gate": num_coord * 2 * coord_row,
    }
    of_itself = {"p_gt": among_coords, "coord_mass": 2 * coord_row}
    adding = E * (num_text + num_coord + 2 * bins + 16)
    allowed = {
        name: of_rows.get(name, 0.0) + (adding + of_itself.get(name, 0.0)) * value
        for name, value in (output.sums | output.diagnostics).items()
    }
    allowed["text_correct"] = torch.tensor(0.0)  # a count
    weights = case.weights
    coord = sum(weights[name] * allowed[name] for name in ("ce", "soft_ce", "w1", "gate"))
    loss = allowed["text"] / max(num_text, 1) + coord / max(num_coord, 1)
    return allowed | {"loss": loss + 16 * E * output.loss.detach()}


def _largest(logits: Tensor) -> float:
    z = logits.detach()
    return float(z.abs().max() + z.logsumexp(-1).abs().max())


def _slopes(case: Case, exact: Stored) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return of text rows and of coord rows: |slopes|, and the parts that they are sums of."""
    counts, weights, bins = exact.result.output.counts, case.weights, len(case.coord_ids)
    assert exact.text.grad is not None
    assert exact.coord.grad is not None
    text, coord = exact.text.grad.abs(), exact.coord.grad.abs()
    text_parts = text.maximum(exact.text.detach().softmax(-1) / max(counts.text, 1))
    inside = exact.coord.detach()[:, case.coord_ids].softmax(-1) / max(counts.coord, 1)
    most = weights["ce"] + weights["soft_ce"] + weights["gate"] + 2 * bins * weights["w1"]
    coord_parts = coord.clone()
    coord_parts[:, case.coord_ids] = coord[:, case.coord_ids].maximum(most * inside)
    return (text, text_parts), (coord, coord_parts)


def assert_within(actual: Result, exact: Stored, allowed: dict[str, Tensor]) -> None:
    """Assert that every number is as near to the exact one as it must be."""
    numbers = actual.numbers()
    assert numbers.keys() == allowed.keys()
    for name, value in exact.result.numbers().items():
        off = (numbers[name].detach().double().cpu() - value).abs() - allowed[name]
        assert off.max() <= 0, f"{name}: {float(off.max()):.1e} more than {allowed[name].max():.1e}"
