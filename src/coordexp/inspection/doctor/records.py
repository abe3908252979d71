"""The user's records: whether they are sound, how long they are, and what goes into one batch."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordexp.config.schema import Config, MixPart
from coordexp.data.audit.findings import AuditReport, Place
from coordexp.data.audit.suspicion import NORMALISED_1, NORMALISED_1000, PER_MILLE, Suspicion
from coordexp.data.contract.record import Geometry, Record, RecordObject
from coordexp.data.files.mix import Mix
from coordexp.data.plan.schedule import PackedBatches
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, evenly_spaced, judged
from coordexp.inspection.survey.stats import Spread
from coordexp.rendering.encode import Encoder
from coordexp.training.run.build_feed import checked_records, plan_feed
from coordexp.training.step.dataset import RecordDataset, record_length
from coordexp.training.step.feed import Feed
from coordexp.viewing.elements import Sheet

# Lengths that are counted where no packing makes the run count them all.
_MEASURED = 1000
_SHOWN = 5
# Share of objects below one pixel from which on they cannot all be that small.
_MANY_TINY = 0.1
# Padding of a batch above which packing is worth a thought.
_MUCH_PADDING = 0.3


@dataclass(frozen=True, slots=True)
class Held:
    """The held-out records.

    Args:
        records: None where the run evaluates nothing.
    """

    records: Mix | None


@dataclass(frozen=True, slots=True)
class Feeds:
    """What training and evaluation are fed with.

    Args:
        train: Planned as the run will.
        held_out: None where the run evaluates nothing.
        longest: Tokens of the longest example that was measured.
    """

    train: Feed
    held_out: Feed | None
    longest: int

    @property
    def dataset(self) -> RecordDataset:
        """The training examples."""
        dataset = self.train.dataset
        if not isinstance(dataset, RecordDataset):
            raise TypeError(f"expected records, got {type(dataset).__name__}")
        return dataset

    def short_place(self, index: int) -> str:
        """Return where a record stands, without the folder."""
        file, line = self.dataset.records.place_of(index)
        return f"{file.name}:{line}"

    def has_objects(self, index: int) -> bool:
        """Return whether a record, not a chat, has something to point at."""
        record = self.dataset.records[index]
        return isinstance(record, Record) and bool(record.taught)

    def indices(self) -> list[int]:
        """Return the records of the first epoch in the order of the file."""
        return sorted({index for batch in self.train.plan.batches(0) for index in batch})


def records(pieces: Pieces) -> CheckResult:
    """Look at every record and every picture's file, as the run will."""
    config = pieces.take(Config)
    train = checked_records(config.data.parts, config)
    held_out = config.data.eval
    held = None if held_out is None else checked_records([MixPart(path=held_out)], config)
    pieces.put(train)
    pieces.put(Held(held))
    objects, untaught = 0, 0
    for record in train:
        if isinstance(record, Record):
            objects += (taught := len(record.taught))
            untaught += len(record.objects) - taught
    found = f"{len(train):,} to train on, {objects:,} objects"
    if untaught:
        found += f"; {untaught:,} crowds and ignored objects are not taught"
    if held is not None:
        found += f"; {len(held):,} held out"
    if held_out is not None and held_out in [part.path for part in config.data.parts]:
        advice = "give data.eval records that are not trained on; its loss would say nothing"
        return CheckResult("yellow", f"{found}: the same file", advice)
    return CheckResult("green", found + "; every picture is there")


def normalised_twice(pieces: Pieces) -> CheckResult:
    """Look for coordinates that are no pixels: scaled to 0..1, or to 0..1000, once too often.

    Objects in coord tokens are looked at as the pixels that they stand for, so that records that
    were prepared from normalised numbers are found as well.
    """
    config, mix = pieces.take(Config), pieces.take(Mix)
    report = AuditReport()
    suspicion = Suspicion(report.add, config.custom.coord_tokens.alphabet.bins - 1)
    large: Counter[Path] = Counter()
    objects = 0
    for file in mix.files:
        suspicion.start_file(file.path)
        for line, sample in enumerate(file, start=1):
            if isinstance(sample, Record):
                sighted = list(_in_pixels(sample, config))
                objects += len(sighted)
                large[file.path] += bool(sighted) and max(sample.width, sample.height) > PER_MILLE
                suspicion.watch(line, sample.width, sample.height, sighted)
        suspicion.end_file()
    places = {item.rule.name: item.places for item in report.findings}
    fractions = places.get(NORMALISED_1.name, [])
    per_mille = _whole_files(places.get(NORMALISED_1000.name, []), large)
    doubts = [
        Doubt(bool(per_mille), "red", _first_of(per_mille), NORMALISED_1000.fix),
        Doubt(len(fractions) > _MANY_TINY * objects, "red", _first_of(fractions), NORMALISED_1.fix),
        Doubt(bool(fractions), "yellow", _first_of(fractions), "are these objects that small?"),
        Doubt(
            not config.custom.coord_tokens.skip_bbox_norm,
            "red" if config.host == "ms_swift" else "yellow",
            "custom.coord_tokens.skip_bbox_norm: false lets ms-swift scale boxes a second time",
            "leave it true; the plain host never scales",
        ),
    ]
    return judged("the codec alone turns pixels into bins", doubts)


def _whole_files(places: Sequence[Place], large: Mapping[Path, int]) -> list[Place]:
    """Return the places of files in which no large picture speaks against the suspicion."""
    counts = Counter(place.file for place in places)
    return [place for place in places if counts[place.file] == large[place.file]]


def _first_of(places: Sequence[Place]) -> str:
    return f"{places[0]}; {len(places):,} such places" if places else ""


def _in_pixels(record: Record, config: Config) -> Iterator[tuple[int, RecordObject]]:
    alphabet = config.custom.coord_tokens.alphabet.to_alphabet()
    half_bins = [size / (alphabet.bins - 1) / 2 for size in (record.width, record.height)]
    for index, item in enumerate(record.objects):
        geometry = item.best_geometry
        pixels = geometry.to_pixels(record.width, record.height, alphabet)
        if geometry.unit == "bin":
            # The least that it was rounded from: on 1,920 pixels the fraction 0.98 is bin 1, and
            # bin 1 is 1.9 pixels.
            pixels = tuple(max(0.0, x - half_bins[place % 2]) for place, x in enumerate(pixels))
        yield index, RecordObject(item.desc, Geometry(geometry.kind, pixels, "px"))


def lengths(pieces: Pieces) -> CheckResult:
    """Count the tokens of the examples, picture, prompt and answer, and compare with the limit."""
    config, encoder = pieces.take(Config), pieces.take(Encoder)
    train, held = pieces.take(Mix), pieces.take(Held).records
    limit = config.training.global_max_length
    feed = plan_feed(train, config.data.parts, config, encoder, training=True)
    held_feed = None
    if held is not None and config.data.eval is not None:
        parts = [MixPart(path=config.data.eval)]
        held_feed = plan_feed(held, parts, config, encoder, training=False)
    if isinstance(feed.plan, PackedBatches):
        counted: Sequence[int] = feed.plan.lengths
    else:
        chosen = evenly_spaced(range(len(train)), _MEASURED)
        counted = [record_length(train, encoder, index) for index in chosen]
    fitting = [length for length in counted if limit is None or length <= limit]
    pieces.put(Feeds(feed, held_feed, longest=max(fitting)))
    return _judged_lengths(counted, fitting, limit, of=len(train))


def _judged_lengths(
    counted: Sequence[int], fitting: Sequence[int], limit: int | None, *, of: int
) -> CheckResult:
    spread = Spread.of(counted)
    head = ["tokens of an example", "mean", "p50", "p95", "p99", "most"]
    figures = (spread.p50, spread.p95, spread.p99, spread.most)
    row = [f"{len(counted):,} of {of:,} examples", f"{spread.mean:,.1f}"]
    sheet = Sheet("Lengths", head, [row + [f"{figure:,}" for figure in figures]])
    found = f"{spread.mean:,.0f} tokens on average, {spread.most:,} at most"
    dropped = len(counted) - len(fitting)
    if dropped:
        return CheckResult(
            "yellow",
            f"{found}; {dropped:,} examples are over {limit:,} and dropped (training.overlong)",
            "raise training.global_max_length, lower data.max_pixels, or split these records",
            [sheet],
        )
    if limit is None:
        found += "; no limit (training.global_max_length)"
    return CheckResult("green", found, sheets=[sheet])


def batches(pieces: Pieces) -> CheckResult:
    """Show the first packs, or batches, and how much of them examples fill."""
    config, feeds = pieces.take(Config), pieces.take(Feeds)
    plan = feeds.train.plan
    if isinstance(plan, PackedBatches):
        return _packs(plan, feeds, config.training.packing_min_fill_ratio)
    encoder, mix = pieces.take(Encoder), pieces.take(Mix)
    chosen = [list(batch) for batch in plan.batches(0)[: _MEASURED // 10]]
    filled = [[record_length(mix, encoder, index) for index in batch] for batch in chosen]
    taken = sum(max(tokens) * len(tokens) for tokens in filled)
    padding = 1 - sum(map(sum, filled)) / taken
    rows = [_batch_row(feeds, *pair) for pair in zip(chosen[:_SHOWN], filled, strict=False)]
    sheet = Sheet("The first batches", ["batch", "records", "tokens", "longest"], rows)
    found = f"{plan.count(0):,} batches; padding takes {padding:.0%} of them"
    if padding > _MUCH_PADDING:
        advice = "training.packing: true with a global_max_length leaves the padding out"
        return CheckResult("yellow", found, advice, [sheet])
    return CheckResult("green", found, sheets=[sheet])


def _packs(plan: PackedBatches, feeds: Feeds, least: float) -> CheckResult:
    packs, fill, capacity = plan.batches(0), plan.fill(0), plan.settings.capacity
    first = [list(pack) for pack in packs[:_SHOWN]]
    rows = [_batch_row(feeds, pack, [plan.lengths[i] for i in pack]) for pack in first]
    sheet = Sheet(
        f"The first packs of {capacity:,} tokens", ["pack", "records", "tokens", "longest"], rows
    )
    noun = "pack" if len(packs) == 1 else "packs"
    found = f"{len(packs):,} {noun} of {capacity:,} tokens, {fill:.1%} full"
    left_out = plan.left_out(0)
    if left_out:
        found += f"; {left_out:,} records are left out of the first epoch (packing_drop_last)"
    if fill < least or left_out:
        advice = "another training.global_max_length, or a larger packing_buffer, fills them better"
        return CheckResult("yellow", found, advice, [sheet])
    return CheckResult("green", found, sheets=[sheet])


def _batch_row(feeds: Feeds, members: Sequence[int], tokens: Sequence[int]) -> list[str]:
    first = feeds.short_place(members[0])
    others = f" and {len(members) - 1:,} more" if len(members) > 1 else ""
    return [first + others, f"{len(members):,}", f"{sum(tokens):,}", f"{max(tokens):,}"]
