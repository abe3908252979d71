"""The stage-1 loss once more, slowly: NumPy, float64, one position and one bin at a time.

Written from the formulas of `docs/objective.md`, sharing no line with the package.
"""

import math

import numpy as np
from numpy.typing import NDArray

from coordexp.objective import CoordTarget, CoordWeights

Matrix = NDArray[np.float64]


def log_sum_exp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def soft_target(true_bin: int, num_bins: int, target: CoordTarget) -> list[float]:
    weights = []
    for k in range(num_bins):
        far = target.truncate is not None and abs(k - true_bin) > target.truncate
        weights.append(0.0 if far else math.exp(-((k - true_bin) ** 2) / (2 * target.sigma**2)))
    return [weight / sum(weights) for weight in weights]


def w1(p: list[float], q: list[float]) -> float:
    total = cdf_p = cdf_q = 0.0
    for p_k, q_k in zip(p, q, strict=True):
        cdf_p, cdf_q = cdf_p + p_k, cdf_q + q_k
        total += abs(cdf_p - cdf_q)
    return total


def coord_terms(z: list[float], ids: list[int], true_bin: int, target: CoordTarget) -> list[float]:
    """Return ce, soft_ce, w1 and gate of one position, from its logits over the temperature."""
    num_bins = len(ids)
    scores = [z[i] for i in ids]
    lse = log_sum_exp(scores)
    log_p = [score - lse for score in scores]
    p = [math.exp(value) for value in log_p]
    q = soft_target(true_bin, num_bins, target)
    goal = q if target.w1_target == "soft" else [float(k == true_bin) for k in range(num_bins)]
    distance = w1(p, goal) / (num_bins if target.w1_unit == "fraction" else 1)
    soft_ce = -sum(q_k * log_p_k for q_k, log_p_k in zip(q, log_p, strict=True))
    return [-log_p[true_bin], soft_ce, distance, log_sum_exp(z) - lse]


def stage1(
    hidden: Matrix,
    head: Matrix,
    labels: list[int],
    ids: list[int],
    offset: Matrix | None,
    weights: CoordWeights,
    target: CoordTarget,
) -> tuple[float, dict[str, float]]:
    """Return the loss and the sums of its terms."""
    head = head.copy()
    if offset is not None:
        for k, token_id in enumerate(ids):
            head[token_id] += offset[k]
    sums = dict.fromkeys(("text", "ce", "soft_ce", "w1", "gate"), 0.0)
    n_text = n_coord = 0
    for row, label in zip(hidden, labels, strict=True):
        if label == -100:
            continue
        z = [float(row @ head[v]) for v in range(len(head))]
        if label not in ids:
            n_text += 1
            sums["text"] += log_sum_exp(z) - z[label]
            continue
        n_coord += 1
        z = [value / target.temperature for value in z]
        terms = coord_terms(z, ids, ids.index(label), target)
        for name, value in zip(("ce", "soft_ce", "w1", "gate"), terms, strict=True):
            sums[name] += value
    coord = sum(weights[name] * sums[name] for name in ("ce", "soft_ce", "w1", "gate"))
    return sums["text"] / max(n_text, 1) + coord / max(n_coord, 1), sums
