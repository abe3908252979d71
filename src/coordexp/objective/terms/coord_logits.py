"""What a term sees of the coordinates: distributions over the bins, and what they shall be.

Shapes: `C` supervised coordinates, `K` bins.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coordexp.objective.distribution import coord_gate, gaussian_soft_target

W1Unit = Literal["fraction", "bins"]
W1Target = Literal["soft", "one_hot"]


@dataclass(frozen=True, slots=True)
class CoordTarget:
    """The distribution that a coordinate is taught.

    Args:
        sigma: Standard deviation of the Gaussian, in bins; positive.
        truncate: Bins further from the true one get nothing; None keeps them all.
        temperature: Divides the logits at coord positions; positive.
        w1_unit: `fraction` divides Wasserstein-1 by the number of bins, `bins` leaves it in bins.
        w1_target: Wasserstein-1 is taken to the soft target or to the true bin alone.
    """

    sigma: float
    truncate: int | None
    temperature: float
    w1_unit: W1Unit
    w1_target: W1Target


@dataclass(frozen=True)
class CoordLogits:
    """The logits of coordinates over the temperature, by what terms are made of.

    What several terms share is worked out once. `read_coord_logits` makes one.

    Args:
        log_p: Logarithm of `p`.
        p: Softmax over the K coord logits.
        bins: The true bins.
        inner: logsumexp of the coord logits.
        outer: logsumexp of all other logits of the vocabulary.
        target: Shape of the taught distribution.
    """

    log_p: Float[Tensor, "C K"]
    p: Float[Tensor, "C K"]
    bins: Int[Tensor, " C"]
    inner: Float[Tensor, " C"]
    outer: Float[Tensor, " C"]
    target: CoordTarget

    @property
    def num_bins(self) -> int:
        """K."""
        return self.p.shape[-1]

    @cached_property
    def q(self) -> Float[Tensor, "C K"]:
        """The soft target."""
        target = self.target
        return gaussian_soft_target(
            self.bins,
            num_bins=self.num_bins,
            sigma=target.sigma,
            truncate=target.truncate,
            dtype=self.p.dtype,
        )

    @cached_property
    def one_hot(self) -> Float[Tensor, "C K"]:
        """The true bin as a distribution."""
        # Not functional.one_hot, which refuses a vocabulary without coord ids.
        bins = torch.arange(self.num_bins, device=self.bins.device)
        return (bins == self.bins[:, None]).to(self.p.dtype)

    @cached_property
    def log_p_true(self) -> Float[Tensor, " C"]:
        """Log-probability of the true bin among the bins."""
        return self.log_p.gather(1, self.bins[:, None])[:, 0]

    @cached_property
    def leak(self) -> Float[Tensor, " C"]:
        """How much probability leaks out of the coord vocabulary, in nats."""
        return coord_gate(self.outer, self.inner)


def read_coord_logits(
    s: Float[Tensor, "C K"],
    bins: Int[Tensor, " C"],
    *,
    inner: Float[Tensor, " C"],
    outer: Float[Tensor, " C"],
    target: CoordTarget,
) -> CoordLogits:
    """Return what terms are made of.

    Args:
        s: Coord logits, divided by the temperature.
        bins: The true bins.
        inner: Their logsumexp; given, because it may be taken without a gradient.
        outer: logsumexp of all other logits, divided by the temperature.
        target: Shape of the taught distribution.
    """
    log_p = s.log_softmax(-1)
    return CoordLogits(log_p, log_p.exp(), bins, inner, outer, target)
