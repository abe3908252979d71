"""From one file of records to several beside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.chat import Sample
from coordexp.data.files.category_ids import load_category_ids, save_category_ids
from coordexp.data.files.jsonl import SampleFile, read_lines
from coordexp.data.files.written_alphabet import save_alphabet
from coordexp.data.split.parts import Part
from coordexp.data.split.stratify import Group, stratified
from coordexp.data.split.together import (
    Together,
    classes_of,
    join_groups,
    join_lookalikes,
    join_pictures,
)
from coordexp.errors import CoordExpError, InputError
from coordexp.files import check_new_file, whole_file

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How a file is split.

    Args:
        parts: Names and shares.
        seed: Decides where nothing else does.
        group: A key of `metadata`, whose values are kept together; None groups by pictures alone.
        alike: Correlation from which two pictures look alike and stay together; None opens none.
        overwrite: Whether files that are there may be replaced.
    """

    parts: tuple[Part, ...]
    seed: int
    group: str | None
    alike: float | None
    overwrite: bool


@dataclass(slots=True)
class WrittenPart:
    """One part as it was written.

    Args:
        path: Its file.
        lines: How many.
        classes: How many of them hold each class.
    """

    path: Path
    lines: int = 0
    classes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What came of a file.

    Args:
        parts: In the order that they were given.
        groups: Sets of lines that stay together.
        alike: Pairs of pictures that look alike.
    """

    parts: Sequence[WrittenPart]
    groups: int
    alike: Sequence[tuple[str, str]]

    @property
    def lines(self) -> int:
        """Lines of all parts."""
        return sum(part.lines for part in self.parts)

    def missing(self) -> dict[str, list[str]]:
        """Return the parts that lack a class, by class; those in all parts are left out."""
        everything = sorted({name for part in self.parts for name in part.classes})
        lacking = {
            name: [part.path.name for part in self.parts if name not in part.classes]
            for name in everything
        }
        return {name: parts for name, parts in lacking.items() if parts}


def part_path(src: Path, part: Part) -> Path:
    """Return where a part is written: beside the file, so that paths of pictures stay right.

    Example:
        >>> part_path(Path("data/all.jsonl"), Part("val", 0.1)).as_posix()
        'data/all.val.jsonl'
    """
    return src.with_suffix(f".{part.name}{src.suffix}")


def split_file(
    src: Path,
    alphabet: CoordAlphabet,
    options: SplitOptions,
    *,
    progress: Progress = lambda _: None,
) -> SplitReport:
    """Write the parts of a file; its lines are copied as they stand.

    Args:
        src: Records, chats too.
        alphabet: Of its coord tokens.
        options: How it is split.
        progress: Called after each picture that was looked at.

    Raises:
        RecordError: If a line breaks the contract, or a picture cannot be looked at.
        InputError: If a file cannot be read, is there already, or a part would be empty.
        CoordExpError: If a file cannot be written.
    """
    paths = [part_path(src, part) for part in options.parts]
    for path in paths:
        check_new_file(path, overwrite=options.overwrite)
    samples = SampleFile(src, alphabet)
    together = Together(len(samples))
    pictures = join_pictures(together, samples)
    if options.group is not None:
        join_groups(together, samples, options.group)
    alike: list[tuple[str, str]] = []
    if options.alike is not None:
        alike = join_lookalikes(together, samples, pictures, least=options.alike, progress=progress)
    groups = together.groups()
    chosen = _parts_of_lines(samples, groups, options)
    written = [WrittenPart(path) for path in paths]
    for sample, part in zip(samples, chosen, strict=True):
        _count(written[part], sample)
    _check_parts(src, options.parts, written, len(groups))
    _write(src, written, chosen)
    ids = load_category_ids(src)
    for path in paths:
        save_category_ids(path, ids)
        save_alphabet(path, alphabet)
    return SplitReport(written, len(groups), alike)


def _parts_of_lines(
    samples: SampleFile, groups: Sequence[Sequence[int]], options: SplitOptions
) -> list[int]:
    held = [classes_of(sample) for sample in samples]
    dealt = [
        Group(len(lines), Counter(name for line in lines for name in held[line]))
        for lines in groups
    ]
    shares = [part.share for part in options.parts]
    chosen = [0] * len(samples)
    for lines, part in zip(groups, stratified(dealt, shares, seed=options.seed), strict=True):
        for line in lines:
            chosen[line] = part
    return chosen


def _count(part: WrittenPart, sample: Sample) -> None:
    part.lines += 1
    part.classes.update(classes_of(sample))


def _check_parts(
    src: Path, parts: Sequence[Part], written: Sequence[WrittenPart], groups: int
) -> None:
    for part, found in zip(parts, written, strict=True):
        if not found.lines:
            raise InputError(
                f"{src}: nothing is left for {part.name}: the lines make {groups} group(s) that "
                "stay together; give larger shares or fewer parts"
            )


def _write(src: Path, written: Sequence[WrittenPart], chosen: Sequence[int]) -> None:
    for place, part in enumerate(written):
        try:
            with whole_file(part.path) as file:
                for line in _lines_of(src, chosen, place):
                    file.write(line)
        except OSError as error:
            raise CoordExpError(f"{part.path}: cannot be written: {error}") from None


def _lines_of(src: Path, chosen: Sequence[int], part: int) -> Iterator[bytes]:
    for (number, line), mine in zip(read_lines(src), chosen, strict=True):
        if mine == part:
            mark = b"\xef\xbb\xbf" if number == 1 else b""  # of a file that begins with one
            yield line.removeprefix(mark).rstrip(b"\r\n") + b"\n"
