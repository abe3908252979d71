"""A task of records that lie somewhere already: a study's own.

    <directory>/train.jsonl     train/*
    <directory>/heldout.jsonl   heldout/*

Training pictures are drawn from one file, held-out ones from another. A smaller size is the
beginning of a larger one, and everybody is asked about the same held-out ones, as in tasks that are
generated. Records are written anew; pictures are hard links where the disk allows it, so that a
size costs nothing.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record, record_to_json
from coordexp.data.files.image import find_image
from coordexp.data.files.jsonl import RecordFile, write_jsonl
from coordexp.errors import CoordExpError, RecordError
from coordexp.files import whole_directory
from coordexp.lab.links import link_file
from coordexp.lab.study_file import OwnTask
from coordexp.scenes.digits import Split

_STREAMS: Mapping[Split, int] = {"train": 0, "heldout": 1}


def find_record_problems(name: str, task: OwnTask, *, train: int, heldout: int) -> Iterator[str]:
    """Yield all that keeps a study from drawing its pictures, each behind the key that it is about.

    Every record is read. A picture that is in both files under two names is not noticed.

    Args:
        name: Of the task.
        task: The task.
        train: The most training pictures that any run asks for.
        heldout: Held-out pictures.
    """
    pictures: list[set[str]] = []
    for key, path, wanted in (
        ("train", task.train, train),
        ("heldout", task.heldout, heldout),
    ):
        try:
            records = RecordFile(path, SPEC_ALPHABET)
            pictures.append({_place(path, record) for record in records})
        except CoordExpError as error:
            yield f"tasks.{name}.{key}: {error}"
            continue
        if len(records) < wanted:
            has = f"{path} has {len(records)} records"
            yield f"tasks.{name}.{key}: {has}, the study asks for {wanted}"
    if shared := set.intersection(*pictures) if len(pictures) == len(_STREAMS) else set():
        count = f"{len(shared)} pictures are" if len(shared) > 1 else "a picture is"
        yield f"tasks.{name}: {count} in both train and heldout, such as {min(shared)}"


def write_own_task(
    directory: Path, task: OwnTask, *, train: int, heldout: int, seed: int, heldout_seed: int
) -> None:
    """Write training and held-out records with their pictures; the directory appears whole.

    Args:
        directory: Must not exist.
        task: Where the records are; `find_record_problems` finds none.
        train: Training pictures.
        heldout: Held-out pictures, the same for every seed.
        seed: Of the draw of training pictures.
        heldout_seed: Of the draw of held-out ones.

    Raises:
        RecordError: If a picture is missing, or of another size than its record says.
    """
    with whole_directory(directory, overwrite=False) as unfinished:
        _write_part(unfinished, "train", task.train, count=train, seed=seed)
        _write_part(unfinished, "heldout", task.heldout, count=heldout, seed=heldout_seed)


def _write_part(directory: Path, split: Split, path: Path, *, count: int, seed: int) -> None:
    records = RecordFile(path, SPEC_ALPHABET)
    rng = np.random.default_rng([seed, _STREAMS[split]])
    chosen = rng.permutation(len(records))[:count]
    rows = (_brought(records, int(index), directory, split) for index in chosen)
    write_jsonl(directory / f"{split}.jsonl", rows)


def _brought(records: RecordFile, index: int, directory: Path, split: Split) -> dict[str, object]:
    """Have a record's picture below a directory and return the record that names it there."""
    record = records[index]
    try:
        found = find_image(records.root, record)
    except RecordError as error:
        raise error.at(*records.place_of(index)) from None
    name = f"{split}/{record.image}"
    link_file(found.path, directory / name)
    return record_to_json(record, SPEC_ALPHABET) | {"images": [name]}


def _place(path: Path, record: Record) -> str:
    return os.path.abspath(path.parent / record.image)  # noqa: PTH100 - 50 times as fast, no disk
