"""COCO itself: pictures have a name, and were searched for every class."""

from collections.abc import Set

from coordexp.data.contract.federated import Federated
from coordexp.data.convert.formats.coco.document import (
    EXPECTED,
    Row,
    category_names,
    is_coco,
    load_document,
)
from coordexp.data.convert.formats.coco.folder import annotation_files
from coordexp.data.convert.formats.coco.instances import read_instances
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import Dataset
from coordexp.data.convert.reading.tally import Tally


class _Coco:
    """What COCO's own files say of an image."""

    def file_names(self, row: Row) -> tuple[str, ...]:
        name = row.get("file_name")
        return (name,) if isinstance(name, str) else ()

    def federated(self, row: Row, classes: Set[str]) -> Federated | None:  # noqa: ARG002
        return None


def _read(source: Source, tally: Tally) -> Dataset:
    document = load_document(source)
    names = category_names(source.path, document)
    return read_instances(source, document, tally, names, _Coco())


FORMAT = Format(
    name="coco",
    title="COCO",
    suffixes=(".json", ".json.gz"),
    recognises=is_coco,
    read=_read,
    files=annotation_files,
    expects=EXPECTED,
)
