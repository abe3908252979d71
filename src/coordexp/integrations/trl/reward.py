"""What an answer is worth, in the shape that TRL calls reward functions in."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from coordexp.evaluation.measure.instances import Floats
from coordexp.integrations.trl.rows import rows_to_records
from coordexp.rendering.encode import Encoder
from coordexp.rewards.reward import TERMS, rewards
from coordexp.rewards.weights import check_weights


class AnswerReward:
    """The weighted mean of `coordexp.rewards`; TRL's log gets each term beside it.

    Texts are decoded here: TRL's own leave special tokens out, and coord tokens may be such.

    Args:
        encoder: Of the model that answers.
        weights: Of the terms; `coordexp.rewards.weights.STARTING_WEIGHTS`.
        longest: More objects than this are too many in one answer.

    Raises:
        InputError: If the weights cannot be used.
    """

    __name__ = "answer_reward"

    def __init__(self, encoder: Encoder, *, weights: Mapping[str, float], longest: int) -> None:
        check_weights(weights, TERMS)
        self._encoder = encoder
        self._weights = dict(weights)
        self._longest = longest

    def __call__(
        self,
        *,
        completion_ids: Sequence[Sequence[int]],
        record: Sequence[str],
        log_metric: Callable[[str, float], None] | None = None,
        **_: object,
    ) -> list[float | None]:
        """Return what each answer is worth; None where no weighted term says anything.

        Args:
            completion_ids: Of the answers, the end of the turn among them.
            record: Of each, as `rows` writes it.
            log_metric: TRL's.
        """
        style = self._encoder.style
        decode = self._encoder.tokenizer.decode
        worth = rewards(
            [str(decode(list(ids), skip_special_tokens=False)) for ids in completion_ids],
            rows_to_records(record, style.alphabet),
            style=style,
            end_marks=self._encoder.inputs.family.end_marks,
            longest=self._longest,
            weights=self._weights,
        )
        if log_metric is not None:
            for name, values in worth.terms.items():
                _log(log_metric, name, values)
        return [None if math.isnan(value) else value for value in worth.total.tolist()]


def _log(log_metric: Callable[[str, float], None], name: str, values: Floats) -> None:
    if not np.isnan(values).all():
        log_metric(f"reward/{name}", float(np.nanmean(values)))
