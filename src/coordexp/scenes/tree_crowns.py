"""Tree crowns: tiles of aerial photographs that the package `deepforest` ships (MIT licence).

Four photographs with 951 crowns in Pascal VOC files, of three forests. Two of them are for
training, two are held out, and a tile never leaves its photograph. The package is only read where
it is installed, never imported, and nothing of it is kept here:

    pip install deepforest --no-deps

A tile is a square window, 96 to 144 pixels wide, at any place between the pixels, resized to 128
pixels. Of a crown that the window cuts, the visible part is boxed where it is at least a third of
its box; a smaller rest stays in the picture without one. Dead trees are trees. Corners are taken as
edges, as the package itself does.

Tiles overlap: a few hundred held-out ones show the same 340 crowns again and again, so that an
interval over tiles is narrower than one over forests.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from coordexp.data.convert.reading.documents import load_xml
from coordexp.errors import InputError
from coordexp.scenes.canvas import Box, Named, Picture
from coordexp.scenes.digits import Split

PHOTOGRAPHS: dict[Split, tuple[str, ...]] = {
    "train": ("2019_YELL_2_528000_4978000_image_crop2", "SOAP_061"),
    "heldout": ("2019_YELL_2_541000_4977000_image_crop", "OSBS_029"),
}
"""Each split has a large one of Yellowstone, and a small one of another forest."""

NAME = "tree"
SIDE = 128
VISIBLE_SHARE = 1 / 3

_PACKAGE = "deepforest"
_WINDOW = (96.0, 144.0)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_TRIES = 1000

Boxes = Float[np.ndarray, "n 4"]


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph and its crowns.

    Args:
        image: All of it.
        crowns: Boxes in its pixels.
    """

    image: Image.Image
    crowns: Boxes


class CrownPainter:
    """Cuts tiles of one split; the same generator state gives the same tile.

    Raises:
        InputError: If the photographs are not there, or are not as they should be.
    """

    def __init__(self, split: Split) -> None:
        folder, missing = _folder(), missing_crowns()
        if folder is None or missing is not None:
            raise InputError(missing)
        self._photographs = [_load(folder, name) for name in PHOTOGRAPHS[split]]
        counts = np.array([len(photo.crowns) for photo in self._photographs], dtype=np.float64)
        # By crowns, not by area: else nearly all tiles would be meadows of the largest photograph.
        self._shares = counts / counts.sum()

    def paint(self, rng: np.random.Generator) -> Picture:
        """Return a tile with at least one crown."""
        photo = self._photographs[int(rng.choice(len(self._shares), p=self._shares))]
        for _ in range(_TRIES):
            side = rng.uniform(*_WINDOW)
            left = rng.uniform(0, photo.image.width - side)
            top = rng.uniform(0, photo.image.height - side)
            window = (left, top, left + side, top + side)
            boxes = visible_boxes(photo.crowns, window)
            if len(boxes):
                return _tile(photo.image, boxes, window)
        raise InputError(f"{_PACKAGE}: {_TRIES} tiles without a crown; are these its photographs?")


def missing_crowns() -> str | None:
    """Return which photographs are not there and what to do, None where all are."""
    folder = _folder()
    if folder is None:
        return (
            f"the photographs of this task are in the package {_PACKAGE}, which is not installed: "
            f"pip install {_PACKAGE} --no-deps"
        )
    names = [name for split in PHOTOGRAPHS.values() for name in split]
    files = [folder / f"{name}{ending}" for name in names for ending in (".png", ".xml")]
    gone = [file.name for file in files if not file.is_file()]
    if not gone:
        return None
    return (
        f"{folder}: {', '.join(gone)} not there; this version of {_PACKAGE} ships other "
        f"photographs: pip install {_PACKAGE}==2.1.0 --no-deps"
    )


def visible_boxes(crowns: Boxes, window: Box) -> Boxes:
    """Return what a window shows of crowns, of those that it shows enough of, in its own sides."""
    low, high = np.array(window[:2]), np.array(window[2:])
    starts = np.clip(crowns[:, :2], low, high)
    ends = np.clip(crowns[:, 2:], low, high)
    seen = np.prod(ends - starts, axis=1) / np.prod(crowns[:, 2:] - crowns[:, :2], axis=1)
    # By its sides as they are after rounding: what is cut off ends at exactly 0 or 1.
    shown = np.concatenate([starts - low, ends - low], axis=1) / np.tile(high - low, 2)
    enough: Boxes = shown[seen >= VISIBLE_SHARE]
    return enough


def _tile(image: Image.Image, boxes: Boxes, window: Box) -> Picture:
    tile = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=window)
    scaled = boxes * SIDE
    ordered = scaled[np.lexsort((scaled[:, 0], scaled[:, 1]))]
    things = [Named(NAME, (float(a), float(b), float(c), float(d))) for a, b, c, d in ordered]
    return Picture(image=np.asarray(tile), things=tuple(things))


def _load(folder: Path, name: str) -> Photograph:
    file = folder / f"{name}.xml"
    boxes = load_xml(file).findall("object/bndbox")
    try:
        corners = [[float(box.findtext(key, "none")) for key in _CORNERS] for box in boxes]
    except ValueError as error:
        raise InputError(f"{file}: a corner is no number: {error}") from None
    crowns = np.array(corners, dtype=np.float64).reshape(-1, len(_CORNERS))
    with Image.open(folder / f"{name}.png") as picture:
        image = picture.convert("RGB")
    edges = np.array([image.width, image.height])
    usable = (crowns[:, :2] < crowns[:, 2:]) & (crowns[:, :2] >= 0) & (crowns[:, 2:] <= edges)
    if not len(crowns) or not usable.all():
        raise InputError(f"{file}: expected boxes inside {image.width}x{image.height} pixels")
    return Photograph(image=image, crowns=crowns)


def _folder() -> Path | None:
    """Return where the package keeps its photographs. It is not imported: it needs torchvision."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / "data"
