"""What became of everything that was read, counted by reason."""

from dataclasses import dataclass
from typing import Literal

Subject = Literal["picture", "object"]
Fate = Literal["dropped", "clipped", "changed", "noted"]

MANY_PERCENT = 3
"""A loss of more than this, of the objects or of the pictures, is said apart from the table."""

_FATES: tuple[Fate, ...] = ("dropped", "clipped", "changed", "noted")
_SUBJECTS: tuple[Subject, ...] = ("picture", "object")


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One line of the report.

    Args:
        subject: Picture or object.
        fate: What became of it; what is noted was kept as it is.
        reason: Why.
        asked: Whether the user's options say so, so that nothing is wrong.
        count: How many.
        first: Where the first one stands.
    """

    subject: Subject
    fate: Fate
    reason: str
    asked: bool
    count: int
    first: str

    @property
    def is_problem(self) -> bool:
        """Whether something was lost or moved that nobody asked for."""
        return not self.asked and self.fate in ("dropped", "clipped")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was read and what became of it.

    Args:
        pictures_read: Entries of pictures in the source.
        pictures_kept: Records written.
        objects_read: Annotations in the source, orphans included.
        objects_kept: Objects written.
        findings: Dropped, clipped, changed and noted, in this order, the most frequent first.
        doubts: What nothing in the source decides, and how it was decided.
    """

    pictures_read: int
    pictures_kept: int
    objects_read: int
    objects_kept: int
    findings: tuple[ReportLine, ...]
    doubts: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must not be overlooked: much was lost, or something could not be known."""
        losses = (
            self._loss("picture", self.pictures_read),
            self._loss("object", self.objects_read),
        )
        nothing = "no picture has an object: all of them would teach that there is nothing"
        is_empty = self.pictures_kept and not self.objects_kept
        return (*filter(None, losses), *([nothing] if is_empty else []), *self.doubts)

    def lost(self, subject: Subject) -> tuple[ReportLine, ...]:
        """Return what was dropped that nobody asked to drop, the most frequent first."""
        return tuple(
            item for item in self.problems if (item.subject, item.fate) == (subject, "dropped")
        )

    def _loss(self, subject: Subject, read: int) -> str | None:
        """Return words for a loss of more than a few in a hundred, or None."""
        lost = self.lost(subject)
        count = sum(finding.count for finding in lost)
        if 100 * count <= MANY_PERCENT * read:
            return None
        share = 100 * count / read
        return (
            f"{count:,} of {read:,} {subject}s ({share:.0f} %) were dropped, most of them: "
            f"{lost[0].reason} (the first: {lost[0].first})"
        )

    @property
    def problems(self) -> tuple[ReportLine, ...]:
        """What `--strict` does not accept."""
        return tuple(finding for finding in self.findings if finding.is_problem)


class Tally:
    """Counts, while a dataset is read and mapped."""

    def __init__(self) -> None:
        self.pictures_read = 0
        self.pictures_kept = 0
        self.objects_read = 0
        self.objects_kept = 0
        self.classes: set[str] = set()
        self.doubts: list[str] = []
        self._counts: dict[tuple[Subject, Fate, str, bool], tuple[int, str]] = {}

    def add(
        self,
        subject: Subject,
        fate: Fate,
        reason: str,
        place: str,
        *,
        asked: bool = False,
        count: int = 1,
    ) -> None:
        """Count something that is already among the read ones."""
        key = (subject, fate, reason, asked)
        before, first = self._counts.get(key, (0, place))
        self._counts[key] = (before + count, first)

    def drop_unread_object(self, reason: str, place: str, *, asked: bool = False) -> None:
        """Count an annotation that a reader could not hand on as a shape."""
        self.objects_read += 1
        self.add("object", "dropped", reason, place, asked=asked)

    def drop_unread_picture(self, reason: str, place: str) -> None:
        """Count an entry that a reader could not hand on as a picture."""
        self.pictures_read += 1
        self.add("picture", "dropped", reason, place)

    def merge(self, other: "Tally") -> None:
        """Add the findings of another tally."""
        for item in other.report().findings:
            self.add(
                item.subject,
                item.fate,
                item.reason,
                item.first,
                asked=item.asked,
                count=item.count,
            )

    def report(self) -> Report:
        """Return the counts so far."""
        findings = [
            ReportLine(subject, fate, reason, asked, count, first)
            for (subject, fate, reason, asked), (count, first) in self._counts.items()
        ]
        findings.sort(
            key=lambda item: (
                _SUBJECTS.index(item.subject),
                _FATES.index(item.fate),
                -item.count,
                item.reason,
                item.asked,
            )
        )
        return Report(
            pictures_read=self.pictures_read,
            pictures_kept=self.pictures_kept,
            objects_read=self.objects_read,
            objects_kept=self.objects_kept,
            findings=tuple(findings),
            doubts=tuple(self.doubts),
        )
