from pathlib import Path

import torch

from coordexp.model.fingerprint import rows_fingerprint, tokenizer_fingerprint
from coordexp.model.load import load_tokenizer


def test_rows_have_the_same_fingerprint_in_every_dtype_that_holds_them() -> None:
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert rows_fingerprint(rows) == rows_fingerprint(rows.float()) == rows_fingerprint(rows.half())


def test_one_bit_changes_a_fingerprint() -> None:
    rows = torch.ones(5, 3)
    other = rows.clone()
    other[4, 2] += 2**-7
    assert rows_fingerprint(rows) != rows_fingerprint(other)


def test_a_view_and_its_copy_agree() -> None:
    rows = torch.randn(9, 4)
    assert rows_fingerprint(rows[2:5]) == rows_fingerprint(rows[2:5].clone())


def test_an_added_token_changes_a_tokenizer_s_fingerprint(
    tiny_base: Path, tiny_expanded: Path
) -> None:
    base, again, other = map(load_tokenizer, (tiny_base, tiny_base, tiny_expanded))
    assert tokenizer_fingerprint(base) == tokenizer_fingerprint(again)
    assert tokenizer_fingerprint(base) != tokenizer_fingerprint(other)
