"""Where the coord tokens live in a vocabulary.

On the real tokenizer of the first family::

    0 ....... 151668   151669         151670 ........ 152669         152670 .....
    text and specials  <|coord_*|>    <|coord_0|> .. <|coord_999|>   padding rows

The ids are taken from the tokenizer, never assumed, and checked once, here.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.errors import CheckpointError

_FEWEST = 100  # numbered tokens that look like an alphabet; markers of other kinds are fewer


class KnowsTokens(Protocol):
    """The part of a tokenizer that is needed here."""

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id."""
        ...


@dataclass(frozen=True, slots=True)
class CoordVocab:
    """The ids of the coord tokens: contiguous, in bin order.

    Args:
        alphabet: Number and spelling of the bins.
        first_id: The id of bin 0.
    """

    alphabet: CoordAlphabet
    first_id: int

    @classmethod
    def from_tokenizer(cls, tokenizer: KnowsTokens, alphabet: CoordAlphabet) -> "CoordVocab":
        """Return the coord vocabulary of a tokenizer.

        Raises:
            CheckpointError: If a coord token is missing, the ids are not contiguous and in bin
                order, or the tokenizer's alphabet goes on behind the last bin.
        """
        known = tokenizer.get_vocab()
        missing = [token for token in alphabet.tokens() if token not in known]
        if missing:
            raise CheckpointError(
                f"the tokenizer lacks {len(missing)} of {alphabet.bins} coord tokens, {missing[0]} "
                f"first; add them to the base with: {_expand_command(alphabet)}{_others(known)}"
            )
        if alphabet.token(alphabet.bins) in known:  # bin 500 of 1000 is elsewhere than that of 1024
            raise CheckpointError(
                f"expected the alphabet {alphabet}, but the tokenizer knows "
                f"{alphabet.token(alphabet.bins)} as well{_others(known)}"
            )
        first_id = known[alphabet.token(0)]
        for k, token in enumerate(alphabet.tokens()):
            if known[token] != first_id + k:
                raise CheckpointError(
                    f"coord ids must be contiguous and in order: {alphabet.token(0)} has id "
                    f"{first_id}, so {token} needs {first_id + k}, but has {known[token]}"
                )
        return cls(alphabet=alphabet, first_id=first_id)

    @property
    def ids(self) -> range:
        """The coord ids in bin order."""
        return range(self.first_id, self.first_id + self.alphabet.bins)

    def bin_of(self, token_id: int) -> int:
        """Return the bin of a coord id, -1 for any other id."""
        return token_id - self.first_id if token_id in self.ids else -1


def coord_id_map(vocab: CoordVocab, vocab_size: int) -> tuple[int, ...]:
    """Return, for every id of the vocabulary, its bin; -1 for ids that are no coord token.

    Raises:
        CheckpointError: If the vocabulary ends before the coord ids do.
    """
    if vocab_size < vocab.ids.stop:
        raise CheckpointError(
            f"the model has {vocab_size} vocabulary rows, but the last coord id is "
            f"{vocab.ids.stop - 1}; expand the base with: {_expand_command(vocab.alphabet)}"
        )
    return tuple(vocab.bin_of(token_id) for token_id in range(vocab_size))


def coord_mask(token_ids: Iterable[int], vocab: CoordVocab) -> tuple[bool, ...]:
    """Return which ids are coord ids."""
    return tuple(token_id in vocab.ids for token_id in token_ids)


def coord_id_range_mask(token_ids: Iterable[int], start: int, end: int) -> tuple[bool, ...]:
    """Return which ids lie in `start..end`, both included, as the configuration writes ranges."""
    return tuple(start <= token_id <= end for token_id in token_ids)


def check_ids(ids: Sequence[int], vocab: CoordVocab) -> None:
    """Check ids that a user wrote down against the tokenizer's.

    Raises:
        CheckpointError: If they differ.
    """
    if tuple(ids) != tuple(vocab.ids):
        differs = next(
            (pair for pair in zip(ids, vocab.ids, strict=False) if len(set(pair)) > 1), None
        )
        where = f"; {differs[0]} stands where {differs[1]} belongs" if differs else ""
        raise CheckpointError(
            f"custom.coord_offset.ids: got {len(ids)} ids, but the tokenizer's {len(vocab.ids)} "
            f"coord ids are {vocab.ids[0]} to {vocab.ids[-1]}{where}; leave ids out to take them "
            "from the tokenizer"
        )


def _expand_command(alphabet: CoordAlphabet) -> str:
    told = f" --alphabet '{alphabet.pattern}' --bins {alphabet.bins}"
    return f"coordexp vocab expand SRC DST{'' if alphabet.is_same(SPEC_ALPHABET) else told}"


def _others(known: Mapping[str, int]) -> str:
    """Return, for a message, which numbered tokens a tokenizer has: likely its alphabet."""
    runs: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for token in known:
        if found := re.fullmatch(r"(\D+)(\d+)(\D+)", token):
            runs[found[1], found[3]].append((int(found[2]), token))
    told = [
        f"{min(run)[1]} .. {max(run)[1]}"
        for run in runs.values()
        if len(run) >= _FEWEST and min(run)[0] == 0 and max(run)[0] == len(run) - 1
    ]
    if not told:
        return ""
    return f"; it has {' and '.join(told)}, which custom.coord_tokens.alphabet can name instead"
