"""What a result was made from, and what differs where it is made from something else.

Answers of a run that was stopped, a run's directory, an adapter beside its base: each is gone on
with only where it was made from the same, and whoever refuses says what is not.
"""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NOT_GIVEN = object()


@dataclass(frozen=True, slots=True)
class Identity:
    """What something was made from.

    Args:
        parts: By name, as JSON values: what `json` reads back is the same as what it wrote.
    """

    parts: Mapping[str, object]

    def changed(self, now: "Identity") -> tuple[str, ...]:
        """Return the names of the parts that are not the same now, in their order.

        Example:
            >>> Identity({"a": [1, 2], "b": 1}).changed(Identity({"a": (1, 2), "c": None}))
            ('b', 'c')
        """
        names = {**self.parts, **now.parts}
        return tuple(name for name in names if _written(self, name) != _written(now, name))

    def told_changes(self, now: "Identity") -> str:
        """Return what is not the same now, for a message; nothing where all is.

        Example:
            >>> Identity({"model": "m", "limit": 8}).told_changes(Identity({"model": "m"}))
            'limit was 8 and is not given'
        """
        return "; ".join(
            f"{name} was {_shown(self, name)} and is {_shown(now, name)}"
            for name in self.changed(now)
        )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(identity: Identity, name: str) -> str | None:
    value = identity.parts.get(name, _NOT_GIVEN)
    return None if value is _NOT_GIVEN else json.dumps(value, sort_keys=True)


def _shown(identity: Identity, name: str) -> str:
    value = identity.parts.get(name, _NOT_GIVEN)
    if value is _NOT_GIVEN:
        return "not given"
    return value if isinstance(value, str) else reprlib.repr(value)
