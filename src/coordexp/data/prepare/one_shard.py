"""What `prepare` does with one shard of a file, in whatever process."""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from json.encoder import encode_basestring
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.coord_tokens.many import many_pixels_to_bins
from coordexp.data.contract.crossing import crossing_outlines
from coordexp.data.contract.geometry import is_flat
from coordexp.data.contract.marks import NO_MARKS, marks_to_json
from coordexp.data.contract.record import (
    EXACT_SUFFIX,
    Record,
    RecordObject,
    object_to_json,
    parse_record,
    record_to_json,
)
from coordexp.data.contract.record_faults import OBJECT_KEYS, RECORD_KEYS
from coordexp.data.files.jsonl import encode_row, parse_json_line
from coordexp.data.files.sharding import Shard
from coordexp.data.prepare.counts import EXAMPLES, PreparedCounts
from coordexp.data.prepare.pixel_text import pixels_to_text
from coordexp.data.prepare.resizing import write_resized
from coordexp.data.prepare.selection import Selection
from coordexp.errors import RecordError
from coordexp.families.picture_grid import PictureGrid
from coordexp.files import unfinished_path, whole_file

FORMAT = 2  # of the work folder: finished shards of another format are not taken
# Enough for one array of pixels; more would be walked by the garbage collector again and again.
RECORDS_AT_ONCE = 64
BROKEN = "broken record or picture"


_COUNTS = TypeAdapter(PreparedCounts)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to every shard.

    Args:
        work: Folder of finished shards.
        alphabet: Of the coord tokens.
        prefix: Goes before every image path.
        grid: Cell and area of the resized pictures; None leaves pictures alone.
        selection: Which records are kept, one by one.
        drop_bad: Whether broken records are counted, instead of stopping.
    """

    work: Path
    alphabet: CoordAlphabet
    prefix: str
    grid: PictureGrid | None
    selection: Selection
    drop_bad: bool

    def pictures(self, root: Path) -> Path:
        """Return the folder in which resized pictures wait."""
        made_from = json.dumps([os.path.realpath(root), self._settings()])
        return self.work / f"pictures-{_digest(made_from.encode())}"

    def shard_path(self, job: "ShardJob", content: bytes) -> Path:
        """Return where a shard goes when it is finished: the name holds all that it depends on."""
        lines = None if job.lines is None else sorted(job.lines)
        root = os.path.realpath(job.shard.path.parent) if self.grid else ""
        made_from = json.dumps([root, self._settings(), job.shard.first_line, lines])
        return self.work / f"{job.shard.first_line:012}-{_digest(made_from.encode(), content)}"

    def _settings(self) -> dict[str, object]:
        settings = asdict(self)
        del settings["work"]
        return {"format": FORMAT, **settings}


@dataclass(frozen=True, slots=True)
class ShardJob:
    """One shard and what to do with it.

    Args:
        shard: The lines.
        preparation: The same for all shards.
        lines: Numbers of the lines that are kept; None for all.
    """

    shard: Shard
    preparation: Preparation
    lines: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """A shard that is on disk.

    Args:
        path: Its records, as they go into the output.
        size: Bytes of the lines that it was made from.
        counts: What they became.
    """

    path: Path
    size: int
    counts: PreparedCounts


def prepare_shard(job: ShardJob) -> FinishedShard:
    """Return the shard's output: made now, or found from an earlier attempt.

    Raises:
        RecordError: If a record breaks the contract, or its picture cannot be read.
    """
    content = job.shard.content()
    path = job.preparation.shard_path(job, content)
    finished = path.with_suffix(".json")
    if not finished.exists():
        maker = _Maker(job)
        output = b"".join(maker.rows(content))
        _write(path, output)
        _write(finished, _COUNTS.dump_json(maker.counts))
    return FinishedShard(path, job.shard.size, _COUNTS.validate_json(finished.read_bytes()))


class _Maker:
    """Makes one shard's rows, and counts."""

    def __init__(self, job: ShardJob) -> None:
        self.counts = PreparedCounts()
        self._job = job
        self._todo = job.preparation
        self._tokens = [f'"{token}"' for token in job.preparation.alphabet.tokens()]
        self._root = job.shard.path.parent
        self._outlines: list[tuple[float, ...]] = []

    def rows(self, content: bytes) -> Iterator[bytes]:
        """Yield the lines of the output."""
        kept = self._kept(content)
        while together := list(islice(kept, RECORDS_AT_ONCE)):
            bins = self._bins(record for record, _ in together)
            for record, frame in together:
                rows = [self._object_text(item, bins) for item in record.objects]
                self.counts.objects += len(rows)
                # Quotes in a string are escaped: this stands nowhere else. Numbers and tokens
                # written here are the same characters as through `json`, at half the time.
                yield encode_row(record_to_json(frame, self._todo.alphabet)).replace(
                    b'"objects": []', f'"objects": [{", ".join(rows)}]'.encode(), 1
                )
        self.counts.crossing += len(crossing_outlines(self._outlines))

    def _kept(self, content: bytes) -> Iterator[tuple[Record, Record]]:
        """Yield each record that is kept, and the frame of what is written."""
        lines = content.removesuffix(b"\n").split(b"\n")
        for line, row in enumerate(lines, start=self._job.shard.first_line):
            self.counts.read += 1
            chosen = self._job.lines is None or line in self._job.lines
            try:
                kept = self._prepared(row, chosen=chosen)
            except RecordError as error:
                self._drop(error.at(self._job.shard.path, line))
                continue
            if kept is not None:
                yield kept

    def _bins(self, records: Iterable[Record]) -> Iterator[int]:
        """Return the bins of all geometries in pixels, one after the other.

        All of some records at once, which takes a fifth of the time of one by one.
        """
        values: list[float] = []
        sizes: list[int] = []
        for record in records:
            for item in record.objects:
                if item.geometry.unit == "px":
                    values += item.geometry.values
                    sizes += (record.width, record.height) * (len(item.geometry.values) // 2)
        return iter(many_pixels_to_bins(values, sizes, self._todo.alphabet))

    def _drop(self, error: RecordError) -> None:
        if not self._todo.drop_bad:
            raise error
        self.counts.left_out[BROKEN] += 1
        if len(self.counts.dropped) < EXAMPLES:
            self.counts.dropped.append(str(error))

    def _prepared(self, line: bytes, *, chosen: bool) -> tuple[Record, Record] | None:
        data = parse_json_line(line)
        record = parse_record(data, self._todo.alphabet)
        reason = self._todo.selection.reason_against(record)
        if reason is None and not chosen:
            reason = "outside the tiny sample"
        if reason is not None:
            self.counts.left_out[reason] += 1
            return None
        frame = self._with_picture(record)
        self.counts.records += 1
        raw = cast("dict[str, list[dict[str, object]]]", data)  # parse_record has just seen to it
        for key in _unknown_keys(raw, raw["objects"]):
            self.counts.unknown_keys[key] += 1
        return record, frame

    def _with_picture(self, record: Record) -> Record:
        """Return the record without its objects, pointing to the picture that goes with it."""
        grid = self._todo.grid
        if grid is None:
            path, resized = record.image, record.resized
        else:
            folder = self._todo.pictures(self._root)
            written = write_resized(self._root, record, folder, grid)
            self.counts.pictures.update((written.fate, *written.changes))
            path = written.path
            same = written.size == (record.width, record.height)
            resized = None if same else written.size
        image = posixpath.normpath(f"{self._todo.prefix}/{path}")  # both are relative
        return Record(
            (image,),
            record.width,
            record.height,
            (),
            prompt=record.prompt,
            summary=record.summary,
            metadata=record.metadata,
            resized=resized,
            federated=record.federated,
        )

    def _object_text(self, item: RecordObject, shard_bins: Iterator[int]) -> str:
        kind, values, rules = item.geometry.kind, item.geometry.values, item.geometry.rules
        counts = self.counts
        counts.untaught += not item.marks.is_taught
        if rules.form == "ring" and item.marks.is_taught:
            self._outlines.append(item.best_geometry.values)
        if item.geometry.unit == "bin":
            counts.already_tokens += 1
            counts.flat += is_flat(kind, values)
            return json.dumps(object_to_json(item, self._todo.alphabet), ensure_ascii=False)
        bins = tuple(islice(shard_bins, len(values)))
        counts.flat += is_flat(kind, bins)
        tokens, exact = self._tokens, pixels_to_text(values)
        text = (
            f'{{"desc": {encode_basestring(item.desc)}, "{kind}": '
            f'[{", ".join([tokens[k] for k in bins])}], "{kind}{EXACT_SUFFIX}": {exact}}}'
        )
        if item.marks is NO_MARKS:
            return text
        # `area` stays in square pixels of the original, as the exact geometry does.
        marks = [f'"{key}": {value}' for key, value in marks_to_json(item.marks).items()]
        return f"{text[:-1]}, {', '.join(marks)}}}"


def _unknown_keys(row: Iterable[str], objects: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the keys that the contract does not know, once for each time they stand there.

    They are no error, and not carried along.

    Example:
        >>> list(_unknown_keys({"width": 3, "id": 7}, [{"desc": "cat", "colour": 3}]))
        ['id', 'objects[].colour']
    """
    if not RECORD_KEYS.issuperset(row):
        yield from (key for key in row if key not in RECORD_KEYS)
    for item in objects:
        if not OBJECT_KEYS.issuperset(item):
            yield from (f"objects[].{key}" for key in item if key not in OBJECT_KEYS)


def _write(path: Path, content: bytes) -> None:
    unfinished = unfinished_path(path, before=f".{os.getpid()}.")
    with whole_file(path, unfinished=unfinished) as file:
        file.write(content)


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(hashlib.blake2b(part).digest())
    return digest.hexdigest()
