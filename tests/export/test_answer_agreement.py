from typing import Literal

import pytest
import torch

from coordexp.export import answer_agreement
from coordexp.export.certificate import Rounding
from coordexp.export.logit_distance import Distance, LogitDistance, logit_distance


def test_a_nan_is_never_within_a_limit() -> None:
    ours = torch.zeros(2, 5)
    ours[1, 4] = torch.nan
    distance = logit_distance(ours, torch.arange(10.0).reshape(2, 5), (1, 2))
    assert not distance.every.largest <= 1e-3


def distance(rms: float, typical: float) -> Distance:
    return Distance(largest=1.0, rms=rms, typical=typical)


def rounding(
    moved: float, anyway: float, held: Literal["rms", "typical"] = "rms", other: float = 0.0
) -> Rounding:
    # bfloat16: half a step is 2^-8 = 0.0039, so 0.01 without offsets allows 0.0239 with them
    small = distance(0.0, 0.0)
    two = ((moved, anyway), (other, other))
    figures = zip(*(two if held == "rms" else two[::-1]), strict=True)
    with_offsets, without = (distance(*pair) for pair in figures)
    return Rounding(
        dtype="bfloat16",
        distance=LogitDistance(coord=with_offsets, other=small, every=small),
        without_offsets=LogitDistance(coord=without, other=small, every=small),
        held=held,
        limit="the rule",
    )


@pytest.mark.parametrize("held", ["rms", "typical"])
def test_rounding_that_moves_coord_logits_too_far_is_a_problem(
    held: Literal["rms", "typical"],
) -> None:
    assert answer_agreement._rounding_problems(rounding(0.0238, 0.01, held)) == []
    (problem,) = answer_agreement._rounding_problems(rounding(0.0240, 0.01, held))
    assert problem.startswith("rounding to bfloat16 moves the logits of coord ids by 0.024")
    assert f"deviations ({held})" in problem
    assert answer_agreement._rounding_problems(rounding(float("nan"), 0.01, held)) != []


def test_a_few_tokens_that_go_to_another_expert_are_no_problem_of_a_mixture() -> None:
    """One position of nine jumps: the rms shows it, the typical position does not."""
    reference = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    moved = reference + 0.003 * torch.randn(9, 40, generator=torch.Generator().manual_seed(1))
    jumped = moved.clone()
    jumped[4] += 0.5
    tensors = {"0.logits": jumped, "0.without": moved}
    expected = {"0.logits": reference, "0.without": reference}

    def problems(*, is_mixture: bool) -> list[str]:
        found = answer_agreement.rounding_of(
            tensors, expected, (0, 9), torch.bfloat16, is_mixture=is_mixture
        )
        return answer_agreement._rounding_problems(found)

    assert problems(is_mixture=True) == []
    assert [problem.split("(")[1][:3] for problem in problems(is_mixture=False)] == ["rms"] * 2
    tensors["0.logits"] = reference + 10 * (moved - reference)
    assert len(problems(is_mixture=True)) == 2
