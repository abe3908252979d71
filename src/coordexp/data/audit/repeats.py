"""What stands in several places: records, pictures, splits, spellings of one word.

Memory grows with the number of records and of different descs. Lines and pictures are remembered
by a 64-bit hash, about 400 bytes a record.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from coordexp.data.audit.findings import Place
from coordexp.data.contract.faults import Rule
from coordexp.data.contract.objects import RecordObject


def _warning(name: str, fix: str) -> Rule:
    return Rule(name, "warning", fix)


DUPLICATE_RECORD = _warning("duplicate-record", "drop one; it counts twice in training")
DUPLICATE_IMAGE = _warning(
    "duplicate-image", "merge the objects of both records, or give each a prompt of its own"
)
SHARED_IMAGE = _warning(
    "shared-image", "keep a picture in one split; figures on pictures seen in training mislead"
)
DESC_VARIANTS = _warning("desc-variants", "choose one spelling; each is a class of its own")

_MOST_SHOWN = 5
_MOST_LINES = 2**40


@dataclass(slots=True)
class _Spelling:
    """How often a desc was seen, and where first."""

    file: Path
    line: int
    obj: int
    count: int = 0


class RepeatWatch:
    """Watches all records of all files.

    Args:
        add: Called with each warning.
    """

    def __init__(self, add: Callable[[Rule, Place], None]) -> None:
        self._add = add
        self._path = Path()
        self._root = ""
        self._lines: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        self._files: list[Path] = []
        self._homes: dict[int, int] = {}  # of each picture the first file and line, in one number
        self._spellings: dict[str, _Spelling] = {}

    def start_file(self, path: Path) -> None:
        """Begin another file."""
        self._path = path
        self._files.append(path)
        self._root = os.path.join(os.path.realpath(path.parent), "")  # noqa: PTH118 - keeps its end
        self._lines, self._asked = {}, {}

    def watch_record(self, line: int, raw: bytes, image: str, prompt: object) -> None:
        """Take note of a record.

        Args:
            line: Its number.
            raw: As it stands in the file.
            image: Its picture.
            prompt: Its own prompt: one picture may be asked about in several ways.
        """
        self._watch_home(line, image)
        same = self._lines.setdefault(hash(raw.strip()), line)
        asked = self._asked.setdefault(hash((image, prompt)) if prompt else hash(image), line)
        if same != line:
            self._warn(DUPLICATE_RECORD, line, f"the same record as line {same}")
        elif asked != line:
            self._warn(DUPLICATE_IMAGE, line, f"{image!r} has a record at line {asked} already")

    def watch_chat(self, line: int, raw: bytes, images: Iterable[str]) -> None:
        """Take note of a chat: one picture may be talked about in many."""
        same = self._lines.setdefault(hash(raw.strip()), line)
        if same != line:
            self._warn(DUPLICATE_RECORD, line, f"the same chat as line {same}")
        for image in images:
            self._watch_home(line, image)

    def _watch_home(self, line: int, image: str) -> None:
        here = len(self._files) - 1
        seen = self._homes.setdefault(hash(self._root + image), here * _MOST_LINES + line)
        file, first_line = divmod(seen, _MOST_LINES)
        if file != here:
            place = f"{self._files[file]}:{first_line}"
            self._warn(SHARED_IMAGE, line, f"{image!r} is also in {place}")

    def watch_descs(self, line: int, descs: Iterable[tuple[int, RecordObject]]) -> None:
        """Take note of the words of a record's good objects, each with its index."""
        known = self._spellings
        for index, item in descs:
            spelling = known.get(item.desc)
            if spelling is None:
                known[item.desc] = spelling = _Spelling(self._path, line, index)
            spelling.count += 1

    def conclude(self) -> None:
        """Warn of what only the end of all files shows."""
        groups: dict[str, list[str]] = defaultdict(list)
        for desc in self._spellings:
            groups[" ".join(desc.split()).casefold()].append(desc)
        for variants in groups.values():
            if len(variants) > 1:
                self._warn_of_spellings(variants)

    def _warn_of_spellings(self, variants: list[str]) -> None:
        """Warn at the rarest spelling, which is the likeliest to be the slip."""
        ranked = sorted(variants, key=lambda desc: -self._spellings[desc].count)
        told = [f"{desc!r} ({self._spellings[desc].count:,})" for desc in ranked[:_MOST_SHOWN]]
        more = f" and {len(ranked) - _MOST_SHOWN} more" if len(ranked) > _MOST_SHOWN else ""
        slip = self._spellings[ranked[-1]]
        message = f"the same but for case and spaces: {', '.join(told)}{more}"
        self._add(DESC_VARIANTS, Place(slip.file, slip.line, slip.obj, message))

    def _warn(self, rule: Rule, line: int, message: str) -> None:
        self._add(rule, Place(self._path, line, None, message))
