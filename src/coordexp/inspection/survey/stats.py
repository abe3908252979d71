"""What a file of records holds: tokens as training will count them, objects, sizes, words.

No picture is opened: its tokens follow from its width and height.
"""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import track

from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.record import Record
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.plan.best_fit import pack_best_fit
from coordexp.errors import RecordError
from coordexp.inspection.survey.class_mix import ClassMix
from coordexp.rendering.encode import Encoder

# What a pack may hold; those that no example fits are left out.
CAPACITIES = (1024, 2048, 4096, 8192, 16384, 32768)
# As `training.packing_buffer` unless a run says otherwise.
PACK_BUFFER = 512
# COCO's bounds of small, medium and large: areas in pixels.
SMALL, LARGE = 32**2, 96**2


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, percentiles and largest of some numbers.

    Args:
        mean: Of all.
        p50: Half of them are at most this.
        p95: 95 % are.
        p99: 99 % are.
        most: The largest.
    """

    mean: float
    p50: int
    p95: int
    p99: int
    most: int

    @classmethod
    def of(cls, values: Sequence[int]) -> "Spread":
        """Return the spread of at least one number; percentiles are numbers among them."""
        found = np.asarray(values)
        p50, p95, p99 = np.percentile(found, (50, 95, 99), method="inverted_cdf").tolist()
        return cls(float(found.mean()), int(p50), int(p95), int(p99), int(found.max()))


@dataclass(frozen=True, slots=True)
class PackFill:
    """How well examples would fill packs.

    Args:
        capacity: Tokens of a pack.
        packs: How many.
        fill: Share of their tokens that examples take.
        too_long: Examples that fit no pack; left out of the other figures.
    """

    capacity: int
    packs: int
    fill: float
    too_long: int


@dataclass(slots=True)
class FileStats:
    """Everything that is counted.

    Args:
        limit: `training.global_max_length`, None without one.
        pack_buffer: `training.packing_buffer`.
        lengths: Tokens of each example.
        objects: Number of objects of each record; here and below, of those that are taught.
        descs: How often each desc stands.
        kinds: How often each geometry.
        box_px: Area of each bounding box in pixels; points have none.
        box_share: The same as a share of its picture.
        untaught: Crowds and ignored objects, which are kept for figures.
        class_mix: Which classes the questions name; None where they name none. `lengths` are
            bounds then, for the longest list that an epoch may draw.
    """

    limit: int | None
    pack_buffer: int = PACK_BUFFER
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    objects: "array[int]" = field(default_factory=lambda: array("q"))
    descs: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    box_px: "array[float]" = field(default_factory=lambda: array("d"))
    box_share: "array[float]" = field(default_factory=lambda: array("d"))
    untaught: int = 0
    class_mix: ClassMix | None = None

    @property
    def too_long(self) -> int:
        """Examples longer than the limit."""
        return 0 if self.limit is None else sum(length > self.limit for length in self.lengths)

    def sizes(self) -> dict[str, int]:
        """Return how many bounding boxes are small, medium and large as COCO has it."""
        areas = np.asarray(self.box_px)
        small, large = int((areas < SMALL).sum()), int((areas > LARGE).sum())
        return {"small": small, "medium": len(areas) - small - large, "large": large}

    def pack_fills(self) -> list[PackFill]:
        """Return what packing would give, at the limit and at the usual capacities.

        An estimate: examples come in the order of the file, and a run shuffles them.
        """
        capacities = {self.limit} if self.limit else set()
        capacities |= {size for size in CAPACITIES if size >= max(self.lengths)}
        return [self._pack_fill(size) for size in sorted(capacities)]

    def _pack_fill(self, capacity: int) -> PackFill:
        fitting = [length for length in self.lengths if length <= capacity]
        packs = len(pack_best_fit(fitting, capacity=capacity, buffer=self.pack_buffer).members)
        fill = sum(fitting) / (packs * capacity) if packs else 0.0
        return PackFill(capacity, packs, fill, len(self.lengths) - len(fitting))


def file_stats(
    records: RecordFile,
    encoder: Encoder,
    *,
    limit: int | None,
    pack_buffer: int = PACK_BUFFER,
    class_mix: ClassMix | None = None,
) -> FileStats:
    """Return what a file holds, every record of it looked at.

    Args:
        records: The file.
        encoder: Counts its tokens.
        limit: Most tokens of an example, None without a limit.
        pack_buffer: Examples among which the next one for a pack is chosen.
        class_mix: To count which classes are asked for, where the run asks for some.

    Raises:
        RecordError: If a record breaks the contract; `coordexp data check` lists them all.
    """
    stats = FileStats(limit=limit, pack_buffer=pack_buffer, class_mix=class_mix)
    console = Console(stderr=True)
    steps = track(
        range(len(records)),
        "count",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for index in steps:
        record = records[index]
        try:
            stats.lengths.append(encoder.length(record))
            if class_mix is not None:
                class_mix.count(record, index)
        except RecordError as error:
            raise error.at(records.path, index + 1) from None
        _count_objects(stats, record, encoder)
    return stats


def _count_objects(stats: FileStats, record: Record, encoder: Encoder) -> None:
    taught = record.taught
    stats.objects.append(len(taught))
    stats.untaught += len(record.objects) - len(taught)
    for item in taught:
        stats.descs[item.desc] += 1
        stats.kinds[item.geometry.kind] += 1
        if item.geometry.rules.form == "place":
            continue
        pixels = item.best_geometry.to_pixels(record.width, record.height, encoder.style.alphabet)
        x1, y1, x2, y2 = bounding_box(pixels)
        area = (x2 - x1) * (y2 - y1)
        stats.box_px.append(area)
        stats.box_share.append(area / (record.width * record.height))
