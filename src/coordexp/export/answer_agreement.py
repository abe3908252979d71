"""How well the merged model's answers agree with the adapter's, and where they do not suffice.

Answers are tensors by name: `0.logits`, `0.rounded`, `0.without` and `0.tokens` for the first
question (`coordexp.export.in_memory`).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from coordexp.export.certificate import (
    Agreement,
    Certificate,
    Generation,
    Rounding,
)
from coordexp.export.logit_distance import Distance, logit_distance

LARGEST_DIFFERENCE = 1e-3
"""Of float32 logits, in standard deviations."""
LARGEST_ROUNDED_DIFFERENCE = 1e-2
"""Of logits of weights that were rounded alike: a rounding may fall to the other side."""
ROUNDING_FACTOR = 2
"""Rounding with offsets may move logits so much more than rounding without."""


def agreement_of(
    answers: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    coord_ids: tuple[int, int] | None,
    narrow: torch.dtype | None,
) -> Agreement:
    """Return how far the logits are from what they must be.

    Args:
        answers: The merged model's.
        expected: The adapter's.
        coord_ids: First and last.
        narrow: What the merged weights were rounded to; None where nothing was rounded.
    """
    ours = all_answers("logits", answers)
    if narrow is None:
        return Agreement(
            reference="the adapter",
            distance=logit_distance(ours, all_answers("logits", expected), coord_ids),
            limit=LARGEST_DIFFERENCE,
        )
    return Agreement(
        reference=f"the adapter, merged in memory and rounded to {dtype_name(narrow)}",
        distance=logit_distance(ours, all_answers("rounded", expected), coord_ids),
        limit=LARGEST_ROUNDED_DIFFERENCE,
    )


def rounding_of(
    answers: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    coord_ids: tuple[int, int] | None,
    narrow: torch.dtype,
    *,
    is_mixture: bool,
) -> Rounding:
    """Return what rounding to a narrow dtype moves, and what it would without coord offsets.

    Where a router had two experts nearly even, rounding may make it choose the other one, and the
    logits of that position jump. How many do is chance, and says nothing of the offsets: so the
    typical position of a mixture is held to the rule, and of other models the mean of all.

    Args:
        answers: The merged model's.
        expected: The adapter's.
        coord_ids: First and last.
        narrow: The dtype.
        is_mixture: Whether the model has experts.
    """
    without = None
    if any(name.endswith(".without") for name in answers):
        without = logit_distance(
            all_answers("without", answers), all_answers("without", expected), coord_ids
        )
    held: Literal["rms", "typical"] = "typical" if is_mixture else "rms"
    return Rounding(
        dtype=dtype_name(narrow),
        distance=logit_distance(
            all_answers("logits", answers), all_answers("logits", expected), coord_ids
        ),
        without_offsets=without,
        held=held,
        limit=f"{held} at most {ROUNDING_FACTOR} x without offsets + {_half_step(narrow):g}",
    )


def generation_of(
    answers: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, required: bool
) -> Generation:
    """Return how many greedily generated tokens come before the first that differs."""
    tokens = equal = 0
    for name, theirs in expected.items():
        if name.endswith(".tokens"):
            ours = answers[name]
            same = [int(a) == int(b) for a, b in zip(ours, theirs, strict=False)]
            tokens += max(len(theirs), len(ours))
            equal += next((place for place, is_same in enumerate(same) if not is_same), len(same))
    return Generation(tokens=tokens, equal=equal, required=required)


def disagreements(certificate: Certificate) -> list[str]:
    """Return, in words, which figures of a certificate are beyond their limits."""
    problems = []
    logits, generation = certificate.logits, certificate.generation
    largest = logits.distance.every.largest
    if not largest <= logits.limit:
        problems.append(
            f"its logits differ from those of {logits.reference} by {largest:.3g} standard "
            f"deviations; at most {logits.limit:g} expected"
        )
    if generation.required and generation.equal < generation.tokens:
        problems.append(
            f"of {generation.tokens} greedily generated tokens {generation.equal} come before the "
            "first that differs from the adapter's"
        )
    if certificate.rounding is not None:
        problems += _rounding_problems(certificate.rounding)
    return problems


def _rounding_problems(rounding: Rounding) -> list[str]:
    if rounding.without_offsets is None:
        return []
    floor = _half_step(getattr(torch, rounding.dtype))
    pairs = {
        "coord": (rounding.distance.coord, rounding.without_offsets.coord),
        "other": (rounding.distance.other, rounding.without_offsets.other),
    }
    found = {
        kind: (getattr(moved, rounding.held), ROUNDING_FACTOR * getattr(anyway, rounding.held))
        for kind, (moved, anyway) in pairs.items()
        if isinstance(moved, Distance) and isinstance(anyway, Distance)
    }
    return [
        f"rounding to {rounding.dtype} moves the logits of {kind} ids by {moved:.3g} standard "
        f"deviations ({rounding.held}); {rounding.limit} expected, which is {allowed + floor:.3g}"
        for kind, (moved, allowed) in found.items()
        if not moved <= allowed + floor
    ]


def _half_step(dtype: torch.dtype) -> float:
    """Return the largest relative error of rounding to a dtype."""
    return torch.finfo(dtype).eps / 2


def all_answers(kind: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the tensors of one kind, question after question."""
    numbers = sorted(int(name.split(".")[0]) for name in tensors if name.endswith(f".{kind}"))
    return torch.cat([tensors[f"{number}.{kind}"] for number in numbers])


def dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype as a certificate writes it, such as `bfloat16`."""
    return str(dtype).removeprefix("torch.")
