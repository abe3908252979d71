"""Added in float32, rounded once; no other row is touched."""

import pytest
import torch

from coordexp.model.shifted_rows import shift_rows

IDS = range(2, 5)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("learned", [torch.bfloat16, torch.float32])
def test_the_sum_is_rounded_once(stored: torch.dtype, learned: torch.dtype) -> None:
    torch.manual_seed(0)
    table = torch.randn(7, 64).to(stored)
    offsets = (0.01 * torch.randn(3, 64)).to(learned)
    before = table.clone()
    shift_rows(table, offsets, ids=IDS)
    exact = before.double()[2:5] + offsets.double()  # float32 holds a sum of two bf16 nearly always
    assert torch.equal(table[2:5], exact.float().to(stored))
    untouched = [0, 1, 5, 6]
    assert torch.equal(table[untouched], before[untouched])


def test_offsets_of_another_number_of_rows_are_no_silent_write() -> None:
    with pytest.raises(RuntimeError, match="size"):
        shift_rows(torch.zeros(9, 4), torch.ones(5, 4), ids=IDS)
