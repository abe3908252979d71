"""From pixel records to the form that training reads: coord tokens, and pictures of the right size.

The exact pixels are kept beside the tokens, under `<kind>_px`, so that evaluation compares with the
annotation and not with its quantised form. Where pictures are resized, `width`, `height` and those
pixels stay the original's, and `resized` gives the size of the written file: bins do not change by
resizing, predictions and figures are in pixels of the original picture.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject
from coordexp.data.files.category_ids import load_category_ids, save_category_ids
from coordexp.data.files.jsonl import read_lines
from coordexp.data.files.sharding import cut_into_shards, run_in_order
from coordexp.data.files.written_alphabet import check_alphabet, save_alphabet
from coordexp.data.prepare.counts import PreparedCounts
from coordexp.data.prepare.one_shard import Preparation, ShardJob, prepare_shard
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.selection import tiny_lines
from coordexp.errors import CoordExpError, InputError
from coordexp.files import check_new_file, publish, unfinished_path, whole_file

# Long enough that a shard's own cost does not show, short enough that little is lost by a kill.
SHARD_LINES, SHARD_PICTURES = 2000, 100
MARK, DELIVERING = "made by coordexp data prepare", "pictures are delivered"
Progress = Callable[[int], None]


def tokenise_record(record: Record, alphabet: CoordAlphabet) -> Record:
    """Return the record with every geometry in bins and the pixels it came from in `exact`.

    Objects that hold bins already stay as they are.

    Raises:
        RecordError: If a pixel lies outside the image.
    """
    objects = tuple(
        _tokenise(item, record.width, record.height, alphabet) for item in record.objects
    )
    return replace(record, objects=objects)


def prepare_file(
    src: Path | str,
    dst: Path | str,
    options: PrepareOptions,
    *,
    progress: Progress = lambda _: None,
) -> PreparedCounts:
    """Write the tokenised form of a JSONL file, whole or not at all, and return what it holds.

    Without a grid no picture is opened; image paths are rewritten to be relative to the folder of
    `dst`, and as they never climb, that folder must be the folder of `src` or one above it. With
    a grid the resized pictures are written to `<stem of dst>_images` beside `dst`.

    Work in progress is kept in `<dst>.work`. When this is stopped, the same call goes on with the
    shards that are left. The bytes that are written do not depend on that, nor on the workers.

    Args:
        src: Records, in pixels or coord tokens.
        dst: Appears when it is complete.
        options: How it is prepared.
        progress: Called with the bytes of `src` that were done, shard by shard.

    Raises:
        InputError: If a file cannot be read, if `dst` is `src`, if `src` was prepared in another
            alphabet, if an image lies outside the folder of `dst`, if something is there already
            and may not be overwritten, or would be and is read from.
        RecordError: If a record breaks the contract; it names file, line and object.
        CoordExpError: If something cannot be written.
    """
    src, dst = Path(src), Path(dst)
    _check_source(src, dst, options.alphabet)
    pictures = dst.with_name(dst.stem + "_images")
    todo = _preparation(src, dst, pictures, options)
    category_ids = load_category_ids(src)
    _check_targets(src, dst, pictures, todo, overwrite=options.overwrite)
    lines = tiny_lines(src, options.selection, options.alphabet, drop_bad=options.drop_bad)
    try:
        _open_work(todo.work)
        totals, shards = _prepare_shards(_jobs(src, todo, lines), options.workers, progress)
        _check_any(src, totals)
        save_alphabet(dst, options.alphabet)
        _deliver(shards, todo.work, dst, todo.pictures(src.parent) if todo.grid else None, pictures)
        if category_ids:
            save_category_ids(dst, category_ids)
    except OSError as error:
        raise CoordExpError(f"{dst}: cannot be written: {error}") from None
    finally:
        _leave_if_empty(todo.work)
    return totals


def _preparation(src: Path, dst: Path, pictures: Path, options: PrepareOptions) -> Preparation:
    prefix = PurePosixPath(pictures.name) if options.grid else _image_prefix(src, dst)
    return Preparation(
        work=unfinished_path(dst, behind=".work"),
        alphabet=options.alphabet,
        prefix=prefix.as_posix(),
        grid=options.grid,
        selection=replace(options.selection, tiny=None, seed=0),
        drop_bad=options.drop_bad,
    )


def _check_source(src: Path, dst: Path, alphabet: CoordAlphabet) -> None:
    if os.path.realpath(src) == os.path.realpath(dst):
        raise InputError(f"{dst}: would overwrite the file that it is made from")
    check_alphabet(src, alphabet)


def _check_targets(
    src: Path, dst: Path, pictures: Path, todo: Preparation, *, overwrite: bool
) -> None:
    if not (todo.work / MARK).exists():  # else this goes on with what may be replaced
        check_new_file(dst, overwrite=overwrite)
    if todo.grid and pictures.exists() and not (todo.work / DELIVERING).exists():
        _check_replaceable(src, dst, pictures, overwrite=overwrite)


def _jobs(src: Path, todo: Preparation, lines: frozenset[int] | None) -> Iterator[ShardJob]:
    length = SHARD_PICTURES if todo.grid else SHARD_LINES
    for shard in cut_into_shards(src, length):
        here = range(shard.first_line, shard.first_line + length)
        chosen = None if lines is None else lines.intersection(here)
        yield ShardJob(shard=shard, preparation=todo, lines=chosen)


def _prepare_shards(
    jobs: Iterator[ShardJob], workers: int, progress: Progress
) -> tuple[PreparedCounts, list[Path]]:
    """Return what all shards hold together, and their files in order."""
    totals, shards = PreparedCounts(), []
    for shard in run_in_order(prepare_shard, jobs, workers=workers):
        totals.add(shard.counts)
        shards.append(shard.path)
        progress(shard.size)
    return totals, shards


def _open_work(work: Path) -> None:
    work.parent.mkdir(parents=True, exist_ok=True)
    if work.exists() and not (work / MARK).exists():
        raise InputError(f"{work}: is needed for work in progress and is something else; remove it")
    work.mkdir(exist_ok=True)
    (work / MARK).touch()


def _check_replaceable(src: Path, dst: Path, pictures: Path, *, overwrite: bool) -> None:
    """Refuse to replace a folder unasked, or one that holds pictures of the records themselves."""
    if not overwrite:
        raise InputError(
            f"{pictures}: exists already; remove it, choose another name than {dst.name}, or "
            "pass --overwrite"
        )
    folder = os.path.realpath(pictures)
    for number, line in read_lines(src):
        with suppress(ValueError, TypeError, KeyError):  # broken records are told of later
            for image in json.loads(line)["images"]:
                if Path(os.path.realpath(src.parent / image)).is_relative_to(folder):
                    raise InputError(
                        f"{src}:{number}: its picture lies in {pictures}, which would be replaced; "
                        "choose another name"
                    )


def _leave_if_empty(work: Path) -> None:
    """Remove the folder when nothing in it would help another attempt."""
    if (work / MARK).exists() and not any(work.glob("*.json")):
        shutil.rmtree(work)


def _check_any(src: Path, counts: PreparedCounts) -> None:
    if not counts.read:
        raise InputError(f"{src}: the file is empty; expected one record a line")
    if not counts.records:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.left_out.items())
        examples = "".join(f"\n  {message}" for message in counts.dropped)
        raise InputError(f"{src}: no record is left ({reasons}){examples}")


def _deliver(
    shards: Iterable[Path], work: Path, dst: Path, written: Path | None, pictures: Path
) -> None:
    """Join the shards and put everything under its name; may be done again after a kill."""
    joined = work / "records.jsonl"
    with whole_file(joined) as out:
        for shard in shards:
            with shard.open("rb") as part:
                shutil.copyfileobj(part, out)
    if written is not None and written.exists():
        (work / DELIVERING).touch()
        if pictures.exists():
            pictures.replace(work / "replaced")
        publish(written, pictures)
    publish(joined, dst)
    shutil.rmtree(work)


def _tokenise(item: RecordObject, width: int, height: int, alphabet: CoordAlphabet) -> RecordObject:
    if item.geometry.unit == "bin":
        return item
    bins = item.geometry.to_bins(width, height, alphabet)
    geometry = Geometry(kind=item.geometry.kind, values=bins, unit="bin")
    return replace(item, geometry=geometry, exact=item.geometry)


def _image_prefix(src: Path, dst: Path) -> PurePosixPath:
    # Not Path.resolve(): a loop of links is a RuntimeError there, and left for open() to tell here.
    root, home = Path(os.path.realpath(src.parent)), Path(os.path.realpath(dst.parent))
    try:
        return PurePosixPath(root.relative_to(home))
    except ValueError:
        raise InputError(
            f"{dst}: the images lie outside its folder, at {os.path.relpath(root, home)}; write to "
            f"{root} or a folder above it, or resize the images, which copies them (--max-pixels)"
        ) from None
