"""The bases that the package ships, as others publish theirs: folders of a checkpoint."""

import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

TINY, TINY_GRAFTED = "tiny", "tiny-grafted"

_FOLDERS: Mapping[str, str] = {TINY: "base", TINY_GRAFTED: "grafted"}

SHIPPED = tuple(_FOLDERS)
"""Names of the bases: as it was pretrained, and with coord tokens grafted on it."""


def write_shipped_base(name: str, directory: Path) -> None:
    """Copy a shipped base.

    Args:
        name: One of `SHIPPED`.
        directory: Where its files go; what else is there stays.
    """
    with resources.as_file(resources.files("coordexp.tiny") / _FOLDERS[name]) as shipped:
        shutil.copytree(shipped, directory, dirs_exist_ok=True)
