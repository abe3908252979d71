"""Where the lines of many files are, by key, at 24 bytes a line.

A dict of strings would take ten times as much, in each of the processes of a run.
"""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_DIGEST_BYTES = 12  # of a million keys, two are the same once in 10**17


@dataclass(frozen=True, slots=True)
class KeptLine:
    """Where a line is.

    Args:
        file: Number of the file.
        offset: In bytes.
    """

    file: int
    offset: int


class KeptLines:
    """The place of each line, by its key; of lines with the same key, that of the last.

    Args:
        lines: Keys, each with its place.
    """

    def __init__(self, lines: Iterable[tuple[str, KeptLine]]) -> None:
        digests, files, offsets = bytearray(), array("i"), array("q")
        for key, line in lines:
            digests += _digest(key)
            files.append(line.file)
            offsets.append(line.offset)
        found = np.frombuffer(digests, dtype=f"S{_DIGEST_BYTES}")
        order = np.argsort(found, kind="stable")  # so that the last stays the last
        self._digests = found[order]
        self._files = np.frombuffer(files, dtype=np.intc)[order]
        self._offsets = np.frombuffer(offsets, dtype=np.longlong)[order]

    def find(self, key: str) -> KeptLine | None:
        """Return where the line of a key is, None where there is none."""
        digest = np.frombuffer(_digest(key), dtype=self._digests.dtype)
        place = int(np.searchsorted(self._digests, digest, side="right")[0]) - 1
        if place < 0 or self._digests[place] != digest[0]:
            return None
        return KeptLine(int(self._files[place]), int(self._offsets[place]))


def _digest(key: str) -> bytes:
    content = key.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
