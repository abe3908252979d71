"""Ids of COCO files, which one tool writes as numbers and the next as text.

`1`, `1.0` and `"1"` are one id where a file has only one of them; where it has both `1` and `"1"`,
each means what is written.
"""

import re
from collections.abc import Hashable, Iterable

_NUMERAL = re.compile(r"\s*([+-]?\d{1,30})(\.0*)?\s*")
_AMBIGUOUS = object()


def id_of(value: object) -> Hashable | None:
    """Return an id that can be looked up, or None where a value is none."""
    if isinstance(value, float) and value.is_integer():  # tables write 1 as 1.0
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


class Ids:
    """The ids that a list of a file defines.

    Args:
        known: Each of them, by `id_of`.
    """

    def __init__(self, known: Iterable[Hashable]) -> None:
        self._known = frozenset(known)
        self._by_number: dict[int, object] = {}
        for key in self._known:
            number = _number(key)
            if number is not None:
                taken = number in self._by_number
                self._by_number[number] = _AMBIGUOUS if taken else key

    def meant_by(self, value: object) -> Hashable | None:
        """Return the defined id that a reference means, None where there is none.

        Example:
            >>> Ids(["7", 8]).meant_by(7.0), Ids(["7", 7]).meant_by("07"), Ids(["a"]).meant_by("b")
            ('7', None, None)
        """
        key = id_of(value)
        if key is None or key in self._known:
            return key
        number = _number(key)
        found = None if number is None else self._by_number.get(number)
        return None if found is _AMBIGUOUS else found


def _number(key: Hashable) -> int | None:
    if isinstance(key, int):
        return key
    found = _NUMERAL.fullmatch(key) if isinstance(key, str) else None
    return None if found is None else int(found[1])
