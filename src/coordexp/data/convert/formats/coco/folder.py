"""Where COCO's annotation files are in a folder."""

from pathlib import Path

from coordexp.data.convert.reading.documents import read_ends
from coordexp.data.convert.reading.folders import files_in, folders_in, is_of_split


def annotation_files(folder: Path, split: str | None) -> list[Path]:
    """Return the files that may be COCO's; where some are named `instances_*`, only those.

    Args:
        folder: The dataset.
        split: What their path has to say, None for anything.
    """
    places = (folder, folder / "annotations", *folders_in(folder))
    files = {
        path
        for place in places
        for name in (".json", ".json.gz")
        for path in files_in(place, name)
        if is_of_split(path, folder, split) and _looks_like_coco(path)
    }
    instances = {path for path in files if path.name.startswith("instances")}
    return sorted(instances or files)


def _looks_like_coco(path: Path) -> bool:
    if path.suffix == ".gz":
        return True
    ends = read_ends(path)
    return any(key in ends for key in (b'"annotations"', b'"images"', b'"categories"'))
