"""What a file, or a part of it, became when it was prepared."""

from collections import Counter
from dataclasses import dataclass, field, fields

EXAMPLES = 5  # of broken records, in words


@dataclass(slots=True)
class PreparedCounts:
    """What a file, or a part of it, became.

    Args:
        read: Lines read.
        records: Records written.
        objects: Objects in them.
        untaught: Crowds and ignored objects among them.
        already_tokens: Objects that held coord tokens before.
        flat: Boxes so thin that two of their sides share a bin.
        crossing: Polygons whose outline crosses itself; they are kept as they are.
        left_out: Records that were not written, by reason.
        unknown_keys: Keys outside the contract, which were not carried along, by name.
        pictures: What was done to pictures.
        dropped: The first few broken records, in words.
    """

    read: int = 0
    records: int = 0
    objects: int = 0
    untaught: int = 0
    already_tokens: int = 0
    flat: int = 0
    crossing: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unknown_keys: Counter[str] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)

    def add(self, other: "PreparedCounts") -> None:
        """Add what another part became, which comes after this one."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        del self.dropped[EXAMPLES:]
