r"""What a layer with LoRA or DoRA must be once merged, in float64, and how far off it may be.

Shapes: `n` rows of a block, `D` width, `r` rank. By the papers' formulas, with :math:`s = \alpha/r`
(:math:`\alpha/\sqrt r` under rsLoRA) and the norm of each row:

.. math:: V = W + s B A, \qquad M = m\, V / \lVert V \rVert \quad \text{(DoRA)}

Hu et al., "LoRA", 2021; Liu et al., "DoRA", 2024; Kalajdzievski, "rsLoRA", 2023. PEFT, which
merges, has no part in this.

A stack of matrices, one for each of E experts, has an adapter for each: of expert e, A is r rows
from the (e r)th on and B every E-th column from the e-th on.

Merging is done in float32, in an order of sums that is nobody's business, and rounded once to the
type that is stored. With :math:`e = 2^{-24}` and :math:`S = |W| + s |B| |A|`, V is off by
:math:`e\,(r + 4)\,S` at most, its norm and the products with it by :math:`e\,(D/2 + 8)` of the
result and what V's error adds; then half a step of the stored type. A number that is further off is
wrong.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coordexp.errors import CoordExpError

_E = torch.finfo(torch.float32).eps / 2


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """A layer's adapter in float64.

    Args:
        a: Down.
        b: Up.
        scale: s.
        magnitude: m; None without DoRA.
    """

    a: Float[Tensor, "r D"]
    b: Float[Tensor, "R r"]
    scale: float
    magnitude: Float[Tensor, " R"] | None


@dataclass(frozen=True, slots=True)
class ExpertFactors:
    """The adapter of a stack of matrices, as it is stored.

    Args:
        a: Down, of all experts.
        b: Up, likewise.
        scale: s.
        experts: How many there are.
        is_turned: Whether the files have the matrices' input columns first.
    """

    a: Tensor
    b: Tensor
    scale: float
    experts: int
    is_turned: bool

    def of(self, expert: int) -> LoraFactors:
        """Return the factors of one expert's matrix."""
        rank = len(self.a) // self.experts
        return LoraFactors(
            a=self.a[expert * rank : (expert + 1) * rank].double(),
            b=self.b[:, expert :: self.experts].double(),
            scale=self.scale,
            magnitude=None,
        )


def lora_factors(
    name: str, leaves: Mapping[str, Tensor], config: Mapping[str, object]
) -> LoraFactors:
    """Return a layer's factors.

    Args:
        name: Of the layer in the model.
        leaves: The tensors of the adapter's file by their last names.
        config: `adapter_config.json`.

    Raises:
        CoordExpError: If a tensor is missing or too many for the kind of adapter.
    """
    _check_kind(name, leaves, config)
    a, b = leaves["lora_A.weight"].double(), leaves["lora_B.weight"].double()
    magnitude = leaves.get("lora_magnitude_vector")
    return LoraFactors(
        a=a,
        b=b,
        scale=_scale(name, len(a), config),
        magnitude=None if magnitude is None else magnitude.double(),
    )


def expert_factors(
    name: str,
    leaves: Mapping[str, Tensor],
    config: Mapping[str, object],
    *,
    experts: int,
    is_turned: bool,
) -> ExpertFactors:
    """Return the factors of a stack.

    Args:
        name: Of the parameter in the model.
        leaves: The tensors of the adapter's file by their last names.
        config: `adapter_config.json`.
        experts: Matrices in the stack.
        is_turned: Whether the files have their input columns first.

    Raises:
        CoordExpError: As `lora_factors` does, or if there is no equal part for each expert.
    """
    _check_kind(name, leaves, config)
    a, b = leaves["lora_A.weight"], leaves["lora_B.weight"]
    if len(a) % experts or len(a) != b.shape[1]:
        raise CoordExpError(
            f"{name}: its adapter has {len(a)} and {b.shape[1]} ranks, for {experts} experts"
        )
    scale = _scale(name, len(a) // experts, config)
    return ExpertFactors(a=a, b=b, scale=scale, experts=experts, is_turned=is_turned)


def _check_kind(name: str, leaves: Mapping[str, Tensor], config: Mapping[str, object]) -> None:
    needed = {"lora_A.weight", "lora_B.weight"}
    if config.get("use_dora"):
        needed.add("lora_magnitude_vector")
    if wrong := sorted(needed ^ leaves.keys()):
        raise CoordExpError(
            f"{name}: its adapter should have {sorted(needed)}; {wrong[0]} does not fit"
        )


def _scale(name: str, rank: int, config: Mapping[str, object]) -> float:
    return _alpha(name, config) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _alpha(name: str, config: Mapping[str, object]) -> float:
    patterns = config.get("alpha_pattern") or {}
    if isinstance(patterns, dict):
        for pattern, alpha in patterns.items():
            if re.fullmatch(rf"(.*\.)?({pattern})", name):
                return float(alpha)
    return float(str(config["lora_alpha"]))


def excess(
    base: Float[Tensor, "n D"], stored: Float[Tensor, "n D"], factors: LoraFactors, rows: slice
) -> Float[Tensor, "n D"]:
    """Return how far each stored number is off, as a share of what rounding allows.

    At most 1 where nothing is wrong. Not a number is infinitely far off.

    Args:
        base: A block of the base's rows.
        stored: The same rows as they were written.
        factors: Of the layer.
        rows: Which rows they are.
    """
    weight, b = base.double(), factors.b[rows]
    exact = weight.addmm(b, factors.a, alpha=factors.scale)
    sizes = weight.abs().addmm_(b.abs(), factors.a.abs(), alpha=abs(factors.scale))
    allowed = sizes.mul_(_E * (len(factors.a) + 4))
    if factors.magnitude is not None:
        norm = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
        factor = factors.magnitude[rows, None] / norm
        off = torch.linalg.vector_norm(allowed, dim=1, keepdim=True) / norm
        off += _E * (exact.shape[1] / 2 + 8)
        allowed.addcmul_(exact.abs(), off).mul_(factor.abs())
        exact *= factor
    limits = torch.finfo(stored.dtype)
    # Next to zero the steps no longer shrink.
    allowed.add_(exact.abs(), alpha=limits.eps / 2).add_(limits.smallest_normal * limits.eps)
    share = exact.sub_(stored).abs_().div_(allowed)
    return share.masked_fill_(share.isnan(), math.inf)
