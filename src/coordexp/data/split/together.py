"""Which lines may not be parted."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from coordexp.data.contract.chat import Chat, Sample
from coordexp.data.files.image import picture_record
from coordexp.data.files.jsonl import SampleFile
from coordexp.data.split.lookalikes import Look, alike_pairs, look_at
from coordexp.errors import InputError, RecordError

Progress = Callable[[int], None]


class Together:
    """Joins lines to groups.

    Args:
        count: How many lines there are.
    """

    def __init__(self, count: int) -> None:
        self._leaders = list(range(count))

    def join(self, one: int, other: int) -> None:
        """Put two lines, and all that belong to either, into one group."""
        first, second = sorted((self._leader(one), self._leader(other)))
        self._leaders[second] = first

    def groups(self) -> list[list[int]]:
        """Return the lines of each group, in order."""
        members = defaultdict(list)
        for line in range(len(self._leaders)):
            members[self._leader(line)].append(line)
        return list(members.values())

    def _leader(self, line: int) -> int:
        while self._leaders[line] != line:
            self._leaders[line] = self._leaders[self._leaders[line]]
            line = self._leaders[line]
        return line


def join_pictures(together: Together, samples: SampleFile) -> dict[str, int]:
    """Join the lines that name one picture; return each picture's path with its first line."""
    root = os.path.realpath(samples.root)
    homes: dict[str, int] = {}
    first: dict[str, int] = {}
    for line, sample in enumerate(samples):
        for image in sample.images:
            place = os.path.realpath(Path(root, image))
            together.join(homes.setdefault(place, line), line)
            if homes[place] == line:
                first.setdefault(image, line)
    return first


def join_groups(together: Together, samples: SampleFile, key: str) -> int:
    """Join the lines whose `metadata` has one value under a key; return how many values there are.

    Raises:
        InputError: If no record has the key, or one has a list or an object under it.
    """
    homes: dict[Hashable, int] = {}
    for line, sample in enumerate(samples):
        value = None if isinstance(sample, Chat) else sample.metadata.get(key)
        if value is None:
            continue
        if isinstance(value, list | dict):
            file, number = samples.place_of(line)
            raise RecordError(
                f"metadata.{key}: expected a text or a number to group by, got {value!r:.60}",
                file=file,
                line=number,
            )
        together.join(homes.setdefault((type(value), value), line), line)
    if not homes:
        raise InputError(f"--group {key}: no record has metadata.{key}")
    return len(homes)


def join_lookalikes(
    together: Together,
    samples: SampleFile,
    pictures: dict[str, int],
    *,
    least: float,
    progress: Progress,
) -> list[tuple[str, str]]:
    """Join the lines of pictures that look alike, and return the pairs.

    Args:
        together: Where they are joined.
        samples: The lines.
        pictures: Path and first line of each picture.
        least: Correlation from which two look alike.
        progress: Called after each picture.

    Raises:
        RecordError: If a picture is missing or cannot be read.
    """
    looks: list[Look] = []
    names: list[str] = []
    for image, line in pictures.items():
        try:
            look = _look(samples, samples[line], image)
        except RecordError as error:
            raise error.at(*samples.place_of(line)) from None
        if look is not None:
            looks.append(look)
            names.append(image)
        progress(1)
    pairs = [(names[one], names[other]) for one, other in alike_pairs(looks, least)]
    for one, other in pairs:
        together.join(pictures[one], pictures[other])
    return pairs


def _look(samples: SampleFile, sample: Sample, image: str) -> Look | None:
    record = picture_record(samples.root, image) if isinstance(sample, Chat) else sample
    return look_at(samples.root, record)


def classes_of(sample: Sample) -> Sequence[str]:
    """Return the descs of a line, each once; a chat has none."""
    if isinstance(sample, Chat):
        return ()
    return tuple(dict.fromkeys(item.desc for item in sample.objects))
