"""The logged figures: sums gathered over micro-batches and ranks, divided once.

| key | meaning |
|---|---|
| `base_ce/loss`, `base_ce/tokens` | mean cross-entropy of text targets, and their number |
| `token_acc` | share of text targets with the highest logit |
| `token_type/{desc, struct}_acc` | the same for text targets that name things, and for structure |
| `coord_diag/NAME` | unweighted mean over coord targets, of each term of `objective.terms` |
| `coord_diag/loss` | their weighted sum |
| `coord_diag/coord_vocab_mass` | mean probability inside the coord vocabulary |
| `coord_diag/p_gt` | mean probability of the true bin among the bins |
| `coord_diag/coord_tokens` | number of coord targets |
| `coord_diag/enabled` | 1 where the coord objective is on, 0 in the text baseline |

Every key but the token types' is in every line, of training and evaluation, whatever the weights
and whatever the batch holds: a mean over no target is 0, and the number of targets beside it tells.
A reader of a log need not ask whether a key is there.

Nothing is read from the device until a figure is: a micro-batch costs a few small additions there.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coordexp.objective import Stage1Output
from coordexp.objective.terms import TERMS
from coordexp.rendering.token_types import DESC, STRUCT
from coordexp.training.step.loss_function import Objective

_COORD_DIAGNOSTICS = {"coord_mass": "coord_diag/coord_vocab_mass", "p_gt": "coord_diag/p_gt"}
TOKEN_TYPES = {DESC: "desc", STRUCT: "struct"}
_COUNTS = tuple(f"{kind}_{what}" for kind in TOKEN_TYPES.values() for what in ("tokens", "correct"))


class LossWindow:
    """Sums of the loss terms since they were last read.

    Args:
        objective: That they are of.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._sums: dict[str, Tensor] = {}

    def add(self, output: Stage1Output, token_types: Tensor | None = None) -> None:
        """Take in the terms of one micro-batch.

        Args:
            output: Its loss.
            token_types: `[B, T]`, what each of its tokens is, where that is known.
        """
        counts = {"n_text": output.counts.text, "n_coord": output.counts.coord}
        values = {**output.sums, **output.diagnostics, **counts}
        if token_types is not None:
            values |= token_type_counts(output, token_types)
        for name, value in values.items():
            number = torch.as_tensor(value, dtype=torch.float64, device=output.loss.device)
            known = self._sums.get(name)
            self._sums[name] = number if known is None else known + number

    def read(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the figures of the window and start a new one.

        Args:
            reduce: Sums a tensor over all ranks.
        """
        if not self._sums:
            return {}
        # On every rank the same, also where one of them has seen no types.
        names = sorted({*self._sums, *_COUNTS})
        nothing = torch.zeros_like(self._sums["n_text"])
        stacked = torch.stack([self._sums.get(name, nothing) for name in names])
        values = reduce(stacked).tolist()
        self._sums = {}
        return self._figures(dict(zip(names, values, strict=True)))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums, of this rank."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the sums of a checkpoint."""
        self._sums = dict(state)

    def _figures(self, sums: dict[str, float]) -> dict[str, float]:
        n_text, n_coord = sums["n_text"], sums["n_coord"]
        coord_means = {term.name: term.metric for term in TERMS} | _COORD_DIAGNOSTICS
        means = {name: sums[name] / max(n_coord, 1) for name in coord_means}
        figures = {
            "base_ce/loss": sums["text"] / max(n_text, 1),
            "base_ce/tokens": n_text,
            "token_acc": sums["text_correct"] / max(n_text, 1),
            "coord_diag/enabled": float(self._objective.teaches_coords),
            "coord_diag/coord_tokens": n_coord,
            "coord_diag/loss": self._objective.weights.weigh(means),
        }
        figures |= {key: means[name] for name, key in coord_means.items()}
        figures |= {
            f"token_type/{kind}_acc": sums[f"{kind}_correct"] / sums[f"{kind}_tokens"]
            for kind in TOKEN_TYPES.values()
            if sums[f"{kind}_tokens"]
        }
        return figures


class LossLedger:
    """What training and evaluations say of the loss, kept apart.

    Args:
        objective: That it is of.
        sum_over_ranks: Sums a tensor over all ranks.
    """

    def __init__(self, objective: Objective, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        self._objective = objective
        self._sum_over_ranks = sum_over_ranks
        self.training = LossWindow(objective)
        self._evaluation = LossWindow(objective)

    def add(self, output: Stage1Output, token_types: Tensor | None, *, training: bool) -> None:
        """Take in the terms of one micro-batch, as `LossWindow.add` does."""
        (self.training if training else self._evaluation).add(output, token_types)

    def read_training(self) -> dict[str, float]:
        """Return the figures since the last line of the log."""
        return self.training.read(self._sum_over_ranks)

    def begin_evaluation(self) -> None:
        """Forget an evaluation that was broken off."""
        self._evaluation = LossWindow(self._objective)

    def read_evaluation(self, prefix: str) -> dict[str, float]:
        """Return the figures of an evaluation, on the scale of training, each `prefix_NAME`.

        transformers' own loss is the mean over batches, whatever the number of their targets.
        """
        figures = self._evaluation.read(self._sum_over_ranks)
        named = {f"{prefix}_{name}": value for name, value in figures.items()}
        return {**named, f"{prefix}_loss": total_loss(figures)}


def token_type_counts(output: Stage1Output, token_types: Tensor) -> dict[str, Tensor]:
    """Return how many tokens of each type there are, and how many of them are right.

    Args:
        output: Of the same tokens.
        token_types: `[B, T]`; the first of each row is nobody's target.
    """
    types = token_types[:, 1:].flatten()
    is_kind = types == types.new_tensor(list(TOKEN_TYPES))[:, None]
    tokens, correct = is_kind.sum(1), (is_kind & output.text_hits).sum(1)
    return dict(zip(_COUNTS, torch.stack([tokens, correct], dim=1).flatten(), strict=True))


def total_loss(figures: dict[str, float]) -> float:
    """Return the loss that the figures add up to."""
    return figures["base_ce/loss"] + figures["coord_diag/loss"]
