"""Having a file in another folder without a copy of it."""

import os
import shutil
from pathlib import Path


def link_file(source: Path, target: Path) -> None:
    """Have a file at another place too; nothing is done where something is there already.

    A record's path may not leave the folder of its records, and nothing is written into the user's
    own folders; so the file is brought. It is a hard link: a symbolic one would lead out again, and
    is followed where the source is one. Another disk, or one without links, gets a copy.

    Raises:
        OSError: If there is no such file, or no room.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    real = os.path.realpath(source)
    try:
        target.hardlink_to(real)
    except OSError:
        shutil.copyfile(real, target)
