"""Predicting as the command does when it is told nothing."""

from coordexp.answers.prediction_lines import RowOptions
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.options import PredictOptions

EVERYTHING = RowOptions()


def plainly(
    *, batch_size: int, max_new_tokens: int, rows: RowOptions = EVERYTHING
) -> PredictOptions:
    """Return options that keep answers inside the grammar, and nothing else."""
    asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=max_new_tokens)
    return PredictOptions(batch_size=batch_size, asking=asking, rows=rows)
