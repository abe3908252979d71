r"""The math of one coordinate: target, soft cross-entropy, Wasserstein-1 and gate.

Shapes: `N` supervised coord positions, `K` bins. Everything is unreduced, pure and differentiable.

A target with `sigma = 2`, `truncate = 4`, true bin 0: the part beyond the border is cut off and the
rest renormalised::

    q  #                     k* = 0
       # #
       # # #
       # # # .
       0 1 2 3 4 5
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def gaussian_soft_target(
    bins: Int[Tensor, " N"],
    *,
    num_bins: int,
    sigma: float,
    truncate: int | None,
    dtype: torch.dtype,
) -> Float[Tensor, "N K"]:
    r"""Return a Gaussian over the bins around each true bin, summing to 1.

    .. math::
        q_k \propto \exp(-(k - k^*)^2 / 2\sigma^2)
        \quad \text{where } |k - k^*| \le \text{truncate}

    As sigma goes to 0 it becomes one-hot; `truncate=0` is one-hot at any sigma.

    Args:
        bins: The true bins k*.
        num_bins: K.
        sigma: In bins; positive.
        truncate: Radius in bins, None for the whole axis.
        dtype: Of the result.

    Example:
        >>> gaussian_soft_target(
        ...     torch.tensor([0]), num_bins=3, sigma=1.0, truncate=1, dtype=torch.float32
        ... )
        tensor([[0.6225, 0.3775, 0.0000]])
    """
    distance = torch.arange(num_bins, device=bins.device)[None, :] - bins[:, None]
    # (d / sigma) ** 2, not d ** 2 / sigma ** 2: the latter is 0 / 0 at the true bin once
    # sigma ** 2 underflows.
    log_weight = -0.5 * (distance.to(dtype) / sigma) ** 2
    if truncate is not None:
        log_weight = log_weight.masked_fill(distance.abs() > truncate, -torch.inf)
    return log_weight.softmax(-1)


def soft_cross_entropy(log_p: Float[Tensor, "N K"], q: Float[Tensor, "N K"]) -> Float[Tensor, " N"]:
    r"""Return the cross-entropy :math:`-\sum_k q_k \log p_k`, in nats.

    It is least, the entropy of q, where p = q.

    Example:
        >>> q = torch.tensor([[0.5, 0.5]])
        >>> soft_cross_entropy(q.log(), q)
        tensor([0.6931])
    """
    return -(q * log_p).sum(-1)


def wasserstein1(p: Float[Tensor, "N K"], q: Float[Tensor, "N K"]) -> Float[Tensor, " N"]:
    r"""Return the earth mover's distance between two distributions, in bins.

    .. math:: W_1(p, q) = \sum_k |CDF_p(k) - CDF_q(k)|

    Between one-hots it is the distance of their bins; it is a metric. Ramdas, Garcia and Cuturi,
    "On Wasserstein two-sample testing and related families of nonparametric tests", 2015, section
    2.3.

    Example:
        >>> wasserstein1(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
        tensor([2.])
    """
    return (p - q).cumsum(-1).abs().sum(-1)


def coord_gate(
    lse_noncoord: Float[Tensor, " N"], lse_coord: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    r"""Return how much probability leaks out of the coord vocabulary, in nats.

    .. math:: -\log \sum_{k \in \mathrm{coord}} \mathrm{softmax}(z)_k

    Zero when all mass is on coord ids; log(V / K) when the logits are uniform. It is the softplus
    of the difference: the textbook form, one logsumexp minus another, loses every digit in float32
    near zero.

    Args:
        lse_noncoord: logsumexp of the logits (already divided by the temperature) outside the coord
            ids.
        lse_coord: The same over the K coord ids.

    Example:
        >>> coord_gate(torch.zeros(1), torch.zeros(1))
        tensor([0.6931])
    """
    # Not functional.softplus, which from 20 on returns its argument, with a slope of exactly 1.
    return -functional.logsigmoid(lse_coord - lse_noncoord)
