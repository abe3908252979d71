"""One way in which a line of records breaks the contract, as a value.

Each part of the contract has one generator of faults, over what JSON holds: whoever reads takes the
first and stops (`raise_first`), an audit takes them all. There is no other list of the rules.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from coordexp.errors import RecordError

Severity = Literal["violation", "warning"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that records can get wrong.

    Args:
        name: Short, for machines and for the table.
        severity: A `violation` of the contract is refused by training; a `warning` is not.
        fix: What to do about it.
    """

    name: str
    severity: Severity
    fix: str


class Fault(NamedTuple):
    """One violation.

    Args:
        rule: Which.
        message: What was expected and what is there, at the first place.
        obj: 0-based index into `objects`; None where the whole line is meant.
        in_full: What is there at all places, where that is more than the message says.
    """

    rule: Rule
    message: str
    obj: int | None = None
    in_full: str | None = None


def raise_first(faults: Iterable[Fault]) -> None:
    """Stop at the first fault, if there is one; what comes behind it is not looked for.

    Raises:
        RecordError: With the fault's message and object.
    """
    for fault in faults:
        raise RecordError(fault.message, obj=fault.obj)
