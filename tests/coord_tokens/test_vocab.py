import re

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.coord_tokens.vocab import (
    CoordVocab,
    check_ids,
    coord_id_map,
    coord_id_range_mask,
    coord_mask,
)
from coordexp.errors import CheckpointError

LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)


class Tokens:
    """Stands for a tokenizer: knows its tokens, and nothing else."""

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids

    def get_vocab(self) -> dict[str, int]:
        return self.ids


def tokens_from(first: int, alphabet: CoordAlphabet = SPEC_ALPHABET) -> dict[str, int]:
    ids = {token: first + k for k, token in enumerate(alphabet.tokens())}
    return {"a": 0, "b": 1, **ids}


def test_the_ids_are_the_tokenizers() -> None:
    vocab = CoordVocab.from_tokenizer(Tokens(tokens_from(151670)), SPEC_ALPHABET)
    assert vocab.first_id == 151670
    assert vocab.ids == range(151670, 152670)
    assert [vocab.bin_of(token_id) for token_id in (151669, 151670, 152669, 152670)] == [
        -1,
        0,
        999,
        -1,
    ]


def test_another_alphabet_has_its_own_ids() -> None:
    vocab = CoordVocab.from_tokenizer(Tokens(tokens_from(256000, LOC)), LOC)
    assert vocab.ids == range(256000, 257024)
    with pytest.raises(
        CheckpointError, match=r"lacks 1000 of 1000 coord tokens, <\|coord_0\|> first"
    ):
        CoordVocab.from_tokenizer(Tokens(tokens_from(256000, LOC)), SPEC_ALPHABET)


def test_missing_tokens_are_counted_and_the_way_out_is_named() -> None:
    ids = tokens_from(2)
    del ids["<|coord_3|>"], ids["<|coord_500|>"]
    expected = (
        "lacks 2 of 1000 coord tokens, <|coord_3|> first; add them to the base with: coordexp"
    )
    with pytest.raises(CheckpointError, match=re.escape(expected)):
        CoordVocab.from_tokenizer(Tokens(ids), SPEC_ALPHABET)


@pytest.mark.parametrize(
    "moved", [{"<|coord_5|>": 5000}, {"<|coord_5|>": 8, "<|coord_6|>": 7}, {"<|coord_999|>": 1000}]
)
def test_ids_out_of_order_are_refused(moved: dict[str, int]) -> None:
    with pytest.raises(CheckpointError, match="contiguous and in order"):
        CoordVocab.from_tokenizer(Tokens({**tokens_from(2), **moved}), SPEC_ALPHABET)


def test_the_map_gives_bins_to_coord_ids_and_minus_one_to_the_rest() -> None:
    vocab = CoordVocab(alphabet=CoordAlphabet(bins=3), first_id=4)
    assert coord_id_map(vocab, 8) == (-1, -1, -1, -1, 0, 1, 2, -1)
    assert coord_id_map(vocab, 7)[-1] == 2
    with pytest.raises(CheckpointError, match="6 vocabulary rows, but the last coord id is 6"):
        coord_id_map(vocab, 6)


def test_masks_mark_coord_ids_and_ranges() -> None:
    vocab = CoordVocab(alphabet=CoordAlphabet(bins=3), first_id=4)
    assert coord_mask([3, 4, 6, 7, -100], vocab) == (False, True, True, False, False)
    assert coord_id_range_mask([3, 4, 6, 7], 4, 6) == (False, True, True, False)


def test_ids_in_the_configuration_are_checked() -> None:
    vocab = CoordVocab(alphabet=CoordAlphabet(bins=3), first_id=4)
    check_ids([4, 5, 6], vocab)
    with pytest.raises(
        CheckpointError, match="got 0 ids, but the tokenizer's 3 coord ids are 4 to 6;"
    ):
        check_ids([], vocab)
    with pytest.raises(CheckpointError, match="6 stands where 5 belongs"):
        check_ids([4, 6, 5], vocab)
    with pytest.raises(CheckpointError, match="got 4 ids"):
        check_ids([4, 5, 6, 7], vocab)
