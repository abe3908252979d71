"""Which records of a file are kept: filters on one record, and a small stratified sample.

*Low diversity*: a crate of two hundred oranges fills an answer with two hundred times the same
word; one such picture weighs as much as fifty others and teaches counting at best.

*Tiny*: so many records that every desc keeps its place. Each record belongs to the stratum of its
rarest desc, by the number of records that hold it. Strata get seats in proportion to their size,
but at least one each while seats last, the smallest strata first; in a stratum, records are drawn
by a hash of the seed and their line. The same input and seed give the same records.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.json_line import parse_json_line
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.files.jsonl import read_lines
from coordexp.errors import InputError, RecordError

NOTHING = ""  # the stratum of pictures without objects; no desc is empty


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept.

    Args:
        max_objects: Records with more objects are left out; None keeps them. They are not cut
            short: a model that is shown half of the objects learns to stop early.
        low_diversity: Records with this many objects or more, all of one desc, are left out. Here
            as there only what is taught counts.
        tiny: How many records are kept in the end; None keeps all.
        seed: Of the tiny sample.
    """

    max_objects: int | None = None
    low_diversity: int | None = None
    tiny: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--max-objects", self.max_objects, 1),
            ("--low-diversity", self.low_diversity, 2),
            ("--tiny", self.tiny, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{flag} {value}: expected at least {least}")

    def reason_against(self, record: Record) -> str | None:
        """Return why a record is left out, as a short fixed phrase; None for one that is kept."""
        if self.max_objects is None and self.low_diversity is None:
            return None
        taught = record.taught
        count = len(taught)
        if self.max_objects is not None and count > self.max_objects:
            return f"more than {self.max_objects} objects"
        if (
            self.low_diversity is not None
            and count >= self.low_diversity
            and len({item.desc for item in taught}) == 1
        ):
            return f"{self.low_diversity} or more objects, all of one desc"
        return None


def tiny_lines(
    path: Path, selection: Selection, alphabet: CoordAlphabet, *, drop_bad: bool
) -> frozenset[int] | None:
    """Return the lines of the tiny sample, of those that pass the filters; None for all lines.

    The file is read twice. Memory grows with the number of different descs, and with the sample.

    Raises:
        RecordError: If a record breaks the contract and bad ones are not dropped.
    """
    if selection.tiny is None:
        return None

    def kept() -> Iterator[tuple[int, frozenset[str]]]:
        for line, record in _records(path, alphabet, drop_bad=drop_bad):
            if selection.reason_against(record) is None:
                yield line, frozenset(item.desc for item in record.taught) or frozenset((NOTHING,))

    spread = Counter(desc for _, descs in kept() for desc in descs)
    sizes = Counter(_rarest(descs, spread) for _, descs in kept())
    seats = seats_of(sizes, selection.tiny)
    chosen: dict[str, list[tuple[int, int]]] = {desc: [] for desc in seats}
    for line, descs in kept():
        desc = _rarest(descs, spread)
        if seats[desc]:
            _draw(chosen[desc], line, seats[desc], selection.seed)
    return frozenset(line for drawn in chosen.values() for _, line in drawn)


def seats_of(sizes: Mapping[str, int], seats: int) -> dict[str, int]:
    """Return how many records each stratum gives.

    Args:
        sizes: Records of each stratum.
        seats: Records in all; no more are given than there are.

    Example:
        >>> seats_of({"cat": 90, "dog": 9, "yak": 1}, 10)
        {'yak': 1, 'dog': 2, 'cat': 7}
    """
    given = dict.fromkeys(sorted(sizes, key=lambda name: (sizes[name], name)), 0)
    for name in list(given)[:seats]:
        given[name] = 1
    left = min(seats, sum(sizes.values())) - sum(given.values())
    room = {name: sizes[name] - given[name] for name in given}
    total = sum(room.values())
    shares = {name: divmod(left * room[name], total) if total else (0, 0) for name in given}
    for name, (whole, _) in shares.items():
        given[name] += whole
    left -= sum(whole for whole, _ in shares.values())
    for name in sorted(given, key=lambda name: (-shares[name][1], name))[:left]:
        given[name] += 1
    return given


def _records(
    path: Path, alphabet: CoordAlphabet, *, drop_bad: bool
) -> Iterator[tuple[int, Record]]:
    for line, content in read_lines(path):
        try:
            yield line, parse_record(parse_json_line(content), alphabet)
        except RecordError as error:
            if not drop_bad:
                raise error.at(path, line) from None


def _rarest(descs: Iterable[str], spread: Mapping[str, int]) -> str:
    return min(descs, key=lambda desc: (spread[desc], desc))


def _draw(drawn: list[tuple[int, int]], line: int, seats: int, seed: int) -> None:
    """Keep the lines with the smallest hashes; the heap's top is the largest of them."""
    digest = hashlib.blake2b(f"{seed}/{line}".encode(), digest_size=8).digest()
    ticket = (-int.from_bytes(digest, "big"), line)
    if len(drawn) < seats:
        heapq.heappush(drawn, ticket)
    else:
        heapq.heappushpop(drawn, ticket)
