"""The formats, a module or folder each, and the one list of them.

`coco`, `lvis` (which has its form), `voc`, `cvat`, `yolo`, `odvg` and `labelme` each have a
`FORMAT` that is called like the module. What is put here is found: `--format`, `--help`, the
looking and the errors that list what is known ask here.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the readers need Pillow and PyYAML, for which no `--help` waits
    from coordexp.data.convert.reading.format import Format


def format_names() -> list[str]:
    """Return the names of all formats, without importing one."""
    return sorted(module.name for module in iter_modules(__path__))


def load_formats() -> "list[Format]":
    """Return all formats, by title; a module without `FORMAT` is a bug."""
    modules = [import_module(f"{__name__}.{name}") for name in format_names()]
    found: list[Format] = [module.FORMAT for module in modules]
    return sorted(found, key=lambda item: item.title)
