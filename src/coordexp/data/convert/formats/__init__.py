"""The formats, a module or folder each, and the one list of them.

`coco`, `lvis` (which has its form), `voc`, `yolo`, `odvg` and `labelme` each have a `FORMAT`. A
module that is put here is found: `--format`, `--help`, the looking and the errors that list what is
known read `FORMATS`.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from coordexp.data.convert.reading.format import Format


def _found() -> Iterator[Format]:
    for module in iter_modules(__path__):
        yield import_module(f"{__name__}.{module.name}").FORMAT


FORMATS: list[Format] = sorted(_found(), key=lambda item: item.title)
"""Read it where it is used, never copy it."""
