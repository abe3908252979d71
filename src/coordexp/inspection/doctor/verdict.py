"""What a check says, and what the checks hand on to one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from coordexp.viewing.elements import Sheet

Verdict = Literal["green", "yellow", "red"]
Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Args:
        verdict: `green` is fine, `yellow` worth a thought, `red` would fail or waste the run.
        found: What is there.
        advice: What to do about it.
        sheets: Figures for those who want to see them.
    """

    verdict: Verdict
    found: str
    advice: str = ""
    sheets: Sequence[Sheet] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason why something is not green.

    Args:
        holds: Whether it does.
        verdict: Where it holds.
        words: Added to what was found.
        advice: What to do.
    """

    holds: bool
    verdict: Verdict
    words: str
    advice: str


def judged(found: str, doubts: Sequence[Doubt], sheets: Sequence[Sheet] = ()) -> CheckResult:
    """Return the finding of the first doubt that holds, a green one where none does."""
    for doubt in doubts:
        if doubt.holds:
            words = "; ".join(filter(None, (found, doubt.words)))
            return CheckResult(doubt.verdict, words, doubt.advice, sheets)
    return CheckResult("green", found, sheets=sheets)


class UnbuiltError(Exception):
    """A check needs what an earlier one could not make.

    Args:
        kind: Of the missing piece.
    """

    def __init__(self, kind: type) -> None:
        self.kind = kind
        super().__init__(kind.__name__)


class Pieces:
    """What checks have made for later ones, one of each type.

    Args:
        made: The first ones.
    """

    def __init__(self, *made: object) -> None:
        self._made = {type(piece): piece for piece in made}

    def put(self, piece: object) -> None:
        """Keep a piece, in place of an earlier one of its type."""
        self._made[type(piece)] = piece

    def take(self, kind: type[Piece]) -> Piece:
        """Return the piece of a type.

        Raises:
            UnbuiltError: If there is none, because the check that makes it has failed.
        """
        if kind not in self._made:
            raise UnbuiltError(kind)
        return cast(Piece, self._made[kind])


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at.

    Args:
        name: As the table shows it.
        look: Takes the pieces it needs, and puts down those that it makes.
        makes: Types of the pieces that only this check makes.
    """

    name: str
    look: Callable[[Pieces], CheckResult]
    makes: tuple[type, ...] = ()


@dataclass(slots=True)
class Diagnosis:
    """Everything that was found.

    Args:
        findings: By the names of their checks, in order.
        pieces: What the checks have made.
    """

    findings: dict[str, CheckResult] = field(default_factory=dict)
    pieces: Pieces = field(default_factory=Pieces)

    def count(self, verdict: Verdict) -> int:
        """Return how many checks came to a verdict."""
        return sum(finding.verdict == verdict for finding in self.findings.values())

    @property
    def exit_code(self) -> int:
        """1 where something is red, else 0."""
        return int(self.count("red") > 0)


def evenly_spaced(items: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the items, the first and the last among them.

    Example:
        >>> evenly_spaced(range(10), 4)
        [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[place * last // (most - 1)] for place in range(most)]
