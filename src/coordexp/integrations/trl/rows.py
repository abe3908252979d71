r"""Records as the dataset that TRL reads, one row each, and back.

::

    {"prompt": "Find all objects.", "record": "{\"images\": [...], ...}", "root": "/data/coco"}

The record travels as text: a dataset's columns have one type each, and coordinates have two. The
picture stays on disk; TRL's own column for pictures would send it through a processor that makes
other patches and other prompts than training does.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.record import Record, parse_record, record_to_json
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.rendering.style import RenderingStyle

Row = Mapping[str, str]
_KNOWN_RECORDS = 4_096


def record_rows(records: RecordFile, style: RenderingStyle) -> Iterator[dict[str, str]]:
    """Yield the row of each record.

    Raises:
        RecordError: If a record breaks the contract.
    """
    for index, record in enumerate(records):
        yield {
            "prompt": record.prompt or style.user_prompt,
            "record": json.dumps(record_to_json(record, style.alphabet), ensure_ascii=False),
            "root": str(records.root_of(index).resolve()),
        }


def rows_to_records(texts: Sequence[str], alphabet: CoordAlphabet) -> list[Record]:
    """Return the records of a column; each comes several times, and is parsed once."""
    return [_parsed(text, alphabet) for text in texts]


def row_picture(row: Row, record: Record) -> Image.Image:
    """Return the picture of a row.

    Raises:
        RecordError: If it cannot be read.
    """
    return load_image(Path(row["root"]), record)


@lru_cache(_KNOWN_RECORDS)
def _parsed(text: str, alphabet: CoordAlphabet) -> Record:
    return parse_record(json.loads(text), alphabet)
