"""What an audit found: rules, places, and the report as JSON values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from coordexp.data.contract.faults import Rule, Severity
from coordexp.errors import RecordError

# Beyond this many places of one rule only their number is kept: a file of ten million wrong
# records must not fill the memory, and nobody reads further.
MOST_PLACES = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule was broken, and how.

    Args:
        file: The JSONL file.
        line: 1-based; None where the whole file is meant.
        obj: 0-based index into `objects`; None where the whole record is meant.
        message: What is there.
    """

    file: Path
    line: int | None
    obj: int | None
    message: str

    @override
    def __str__(self) -> str:
        return str(RecordError(self.message, file=self.file, line=self.line, obj=self.obj))

    def to_json(self) -> dict[str, object]:
        """Return the place as JSON values."""
        return {
            "file": str(self.file),
            "line": self.line,
            "object": self.obj,
            "message": self.message,
        }


@dataclass(slots=True)
class Finding:
    """Everything that was found for one rule.

    Args:
        rule: Which.
        count: How often.
        places: Where, in the order of the files; at most `MOST_PLACES`.
    """

    rule: Rule
    count: int = 0
    places: list[Place] = field(default_factory=list)

    def add(self, place: Place) -> None:
        """Count one more place."""
        self.count += 1
        if len(self.places) < MOST_PLACES:
            self.places.append(place)

    def to_json(self) -> dict[str, object]:
        """Return the finding as JSON values."""
        return {
            "rule": self.rule.name,
            "severity": self.rule.severity,
            "count": self.count,
            "fix": self.rule.fix,
            "places": [place.to_json() for place in self.places],
            "places_left_out": self.count - len(self.places),
        }


@dataclass(slots=True)
class FileCounts:
    """How much a file holds.

    Args:
        path: The file.
        records: Lines that are not blank.
        objects: In those records whose objects can be read.
        images_checked: Pictures looked at.
    """

    path: Path
    records: int = 0
    objects: int = 0
    images_checked: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the counts as JSON values."""
        return {
            "file": str(self.path),
            "records": self.records,
            "objects": self.objects,
            "images_checked": self.images_checked,
        }


class AuditReport:
    """Collects what is found, by rule."""

    def __init__(self) -> None:
        self.files: list[FileCounts] = []
        self._findings: dict[str, Finding] = {}

    def add(self, rule: Rule, place: Place) -> None:
        """Count a place where a rule is broken."""
        self._findings.setdefault(rule.name, Finding(rule)).add(place)

    @property
    def findings(self) -> list[Finding]:
        """Violations, then warnings, the most frequent first."""
        return sorted(
            self._findings.values(),
            key=lambda item: (item.rule.severity == "warning", -item.count, item.rule.name),
        )

    def total(self, severity: Severity) -> int:
        """Return how many violations, or warnings, there are."""
        return sum(item.count for item in self.findings if item.rule.severity == severity)

    def to_json(self) -> Mapping[str, object]:
        """Return the whole report as JSON values."""
        return {
            "files": [counts.to_json() for counts in self.files],
            "violations": self.total("violation"),
            "warnings": self.total("warning"),
            "findings": [item.to_json() for item in self.findings],
        }
