"""Photographs of tree crowns, made up."""

import importlib
from pathlib import Path

import pytest
from PIL import Image

from coordexp.scenes.tree_crowns import PHOTOGRAPHS

VOC = "<annotation><size><width>{side}</width><height>{side}</height></size>{objects}</annotation>"
CROWN = (
    "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax>"
    "<ymax>{3}</ymax></bndbox></object>"
)


@pytest.fixture
def crown_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a package of made-up photographs in the place of the real one; return their folder.

    Each photograph has its own grey and a grid of bright crowns, 40 pixels wide and 40 apart.
    """
    folder = tmp_path / "packages" / "deepforest" / "data"
    folder.mkdir(parents=True)
    names = [name for split in PHOTOGRAPHS.values() for name in split]
    for number, name in enumerate(names):
        side = 400 + 80 * number
        image = Image.new("RGB", (side, side), (20 * number, 20 * number, 20 * number))
        objects = ""
        for x in range(20, side - 40, 80):
            for y in range(20, side - 40, 80):
                image.paste((255, 255, 255), (x, y, x + 40, y + 40))
                objects += CROWN.format(x, y, x + 40, y + 40, name="Dead" if x == y else "Tree")
        image.save(folder / f"{name}.png")
        (folder / f"{name}.xml").write_text(VOC.format(side=side, objects=objects), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    importlib.invalidate_caches()
    return folder
