"""Draw the pictures of docs/objective.md with the library's own functions.

.venv/bin/python scripts/draw_objective.py
"""

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from coordexp.objective.distribution import coord_gate, gaussian_soft_target, wasserstein1

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
BLUE, ORANGE, GREY = "#1f6feb", "#d9730d", "#8a8a8a"
BINS = 1000


def targets() -> Figure:
    """Return the target q in the middle and at the border, for two sigmas."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True, layout="constrained")
    for axis, true_bin, low in ((axes[0], 500, 488), (axes[1], 0, 0)):
        shown = torch.arange(low, low + 25)
        for sigma, colour in ((2.0, BLUE), (4.0, ORANGE)):
            q = target(true_bin, sigma=sigma, truncate=8)[0, shown]
            axis.plot(shown, q, "o-", markersize=3, color=colour, label=f"sigma {sigma:g}")
        axis.axvline(true_bin, color=GREY, linewidth=0.8)
        axis.set_title(f"k* = {true_bin}, truncate 8", fontsize=10)
        axis.set_xlabel("bin")
    axes[0].set_ylabel("q")
    axes[1].legend(frameon=False)
    return figure


def areas() -> Figure:
    """Return two predictions equally sharp, near and far: only the area between CDFs tells."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True, layout="constrained")
    shown = torch.arange(480, 601)
    q = target(500, sigma=2.0, truncate=8)
    for axis, guess in ((axes[0], 506), (axes[1], 540)):
        p = target(guess, sigma=4.0, truncate=None)
        cdf_p, cdf_q = (d[0].cumsum(-1)[shown] for d in (p, q))
        axis.step(shown, cdf_q, where="post", color=BLUE, label="CDF of q, k* = 500")
        axis.step(shown, cdf_p, where="post", color=ORANGE, label=f"CDF of p, around {guess}")
        axis.fill_between(shown, cdf_p, cdf_q, step="post", color=GREY, alpha=0.3)
        axis.set_title(f"W1 = {wasserstein1(p, q).item():.1f} bins", fontsize=10)
        axis.set_xlabel("bin")
        axis.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def gates() -> Figure:
    """Return the gate over the mass, and its two float32 forms against float64."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    mass = torch.linspace(1e-3, 1 - 1e-6, 500, dtype=torch.float64)
    left.plot(mass, coord_gate((1 - mass).log(), mass.log()), color=BLUE)
    left.set(xlabel="probability on the K coord ids", ylabel="gate, nats")
    leak = torch.logspace(-12, -1, 200, dtype=torch.float64)
    outside, inside = leak.log() - torch.log1p(-leak) + 20, torch.full_like(leak, 20)
    exact = coord_gate(outside, inside)
    low_outside, low_inside = outside.float(), inside.float()
    textbook = torch.logaddexp(low_outside, low_inside) - low_inside
    forms = (
        ("difference of logsumexps", textbook, ORANGE),
        ("softplus", coord_gate(low_outside, low_inside), BLUE),
    )
    for name, value, colour in forms:
        error = ((value.double() - exact) / exact).abs().clamp_min(1e-9)
        right.loglog(leak, error, color=colour, label=name)
    right.set(xlabel="probability that leaks", ylabel="relative error in float32")
    right.legend(frameon=False, fontsize=8)
    return figure


def target(true_bin: int, *, sigma: float, truncate: int | None) -> torch.Tensor:
    """Return q over all bins."""
    return gaussian_soft_target(
        torch.tensor([true_bin]),
        num_bins=BINS,
        sigma=sigma,
        truncate=truncate,
        dtype=torch.float64,
    )


def main() -> None:
    """Write the pictures; the same versions write the same bytes."""
    mpl.rcParams.update({"svg.hashsalt": "coordexp", "font.size": 9, "savefig.facecolor": "white"})
    PICTURES.mkdir(exist_ok=True)
    for name, draw in (("target", targets), ("w1", areas), ("gate", gates)):
        figure = draw()
        figure.savefig(PICTURES / f"objective-{name}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
