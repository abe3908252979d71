"""The parts that a file is split into: names and shares."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coordexp.errors import InputError

_NAME = re.compile(r"\w[\w-]*")
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """One part.

    Args:
        name: Which its file is called by.
        share: Of the records.
    """

    name: str
    share: float


def parse_parts(given: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts of `train=0.8`, `val=0.2` and so on.

    Raises:
        InputError: If there are fewer than two, a name is none or given twice, or the shares do not
            add up to 1.
    """
    parts = tuple(_parse_part(each) for each in given)
    names = [part.name for part in parts]
    if len(names) < 2:  # noqa: PLR2004
        raise InputError("--part: expected at least two, such as --part train=0.9 --part val=0.1")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"--part: {twice} is given twice")
    total = sum(part.share for part in parts)
    if abs(total - 1) > _ROUNDING:
        raise InputError(f"--part: the shares add up to {total:g}; expected 1")
    return parts


def _parse_part(given: str) -> Part:
    name, _, number = given.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = 0.0
    if not _NAME.fullmatch(name) or not 0 < share < 1:
        raise InputError(
            f"--part: expected NAME=SHARE with a share between 0 and 1, such as val=0.1; got "
            f"{given!r}"
        )
    return Part(name, share)
