import torch

from coordexp.export import answer_agreement
from coordexp.export.certificate import Rounding
from coordexp.export.logit_distance import Distance, LogitDistance, logit_distance


def test_a_nan_is_never_within_a_limit() -> None:
    ours = torch.zeros(2, 5)
    ours[1, 4] = torch.nan
    distance = logit_distance(ours, torch.arange(10.0).reshape(2, 5), (1, 2))
    assert not distance.every.largest <= 1e-3


def rounding(moved: float, anyway: float) -> Rounding:
    # bfloat16: half a step is 2^-8 = 0.0039, so 0.01 without offsets allows 0.0239 with them
    small = Distance(largest=0.0, rms=0.0)
    with_offsets, without = Distance(largest=1.0, rms=moved), Distance(largest=1.0, rms=anyway)
    return Rounding(
        dtype="bfloat16",
        distance=LogitDistance(coord=with_offsets, other=small, every=small),
        without_offsets=LogitDistance(coord=without, other=small, every=small),
        limit="the rule",
    )


def test_rounding_that_moves_coord_logits_too_far_is_a_problem() -> None:
    assert answer_agreement._rounding_problems(rounding(0.0238, 0.01)) == []
    (problem,) = answer_agreement._rounding_problems(rounding(0.0240, 0.01))
    assert problem.startswith("rounding to bfloat16 moves the logits of coord ids by 0.024")
    assert answer_agreement._rounding_problems(rounding(float("nan"), 0.01)) != []
