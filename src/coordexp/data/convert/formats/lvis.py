"""LVIS: COCO's form with 1,203 classes, of which each picture was searched for a few.

Class names are written with spaces, `alarm clock` for `alarm_clock`. Which classes a picture surely
has not, which were not marked exhaustively, and how frequent those on it are, is kept as
`federated`, for LVIS's figures need it. Pictures are named by their `coco_url` where there is no
`file_name`.
"""

from collections.abc import Set
from pathlib import Path

from coordexp.data.contract.federated import FREQUENCIES, Federated, Frequency
from coordexp.data.convert.formats.coco.document import (
    EXPECTED,
    Names,
    Row,
    category_names,
    is_lvis,
    load_document,
    rows_under,
)
from coordexp.data.convert.formats.coco.folder import annotation_files
from coordexp.data.convert.formats.coco.ids import Ids, id_of
from coordexp.data.convert.formats.coco.instances import read_instances
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import Dataset
from coordexp.data.convert.reading.tally import Tally


class _Lvis:
    """What differs from COCO's own files."""

    def __init__(self, path: Path, document: Row, names: Names) -> None:
        self._names = names
        self._ids = Ids(names)
        self._frequency: dict[str, Frequency] = {}
        for row in rows_under(path, document, "categories"):
            key, frequency = id_of(row.get("id")), row.get("frequency")
            if key is not None and frequency in FREQUENCIES:
                self._frequency[names[key]] = frequency

    def file_names(self, row: Row) -> tuple[str, ...]:
        name, url = row.get("file_name"), row.get("coco_url")
        names = [name] if isinstance(name, str) else []
        if isinstance(url, str):
            parts = url.split("/")
            names += ["/".join(parts[-2:]), parts[-1]]  # train2017/1.jpg, or beside it
        return tuple(names)

    def federated(self, row: Row, classes: Set[str]) -> Federated | None:
        return Federated(
            absent=self._listed(row.get("neg_category_ids")),
            not_exhaustive=self._listed(row.get("not_exhaustive_category_ids")),
            frequency={
                name: self._frequency[name] for name in sorted(classes & self._frequency.keys())
            },
        )

    def _listed(self, numbers: object) -> tuple[str, ...]:
        keys = (
            (self._ids.meant_by(number) for number in numbers) if isinstance(numbers, list) else ()
        )
        return tuple([self._names[key] for key in keys if key is not None])


def _read(source: Source, tally: Tally) -> Dataset:
    path, document = source.path, load_document(source)
    given = category_names(path, document)
    names = {number: name.replace("_", " ") for number, name in given.items()}
    return read_instances(source, document, tally, names, _Lvis(path, document, names))


FORMAT = Format(
    name="lvis",
    title="LVIS",
    suffixes=(".json", ".json.gz"),
    recognises=is_lvis,
    read=_read,
    files=annotation_files,
    expects=EXPECTED,
)
