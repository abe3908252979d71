import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coordexp.client.asked_model import load_asked_model
from coordexp.client.picture import fit_picture, picture_url
from coordexp.families.picture_grid import PictureGrid
from coordexp.model.load import load_inputs


@pytest.mark.parametrize("size", [(640, 480), (33, 47), (1999, 31), (20, 900), (64, 64)])
def test_the_model_sees_the_same_pixels_as_in_predict(
    size: tuple[int, int], asked: Path, tiny_base: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    fitted = fit_picture(picture, load_asked_model(asked).grid)
    inputs = load_inputs(tiny_base, min_pixels=None, max_pixels=None)
    there, grid = inputs.encode([fitted])
    here, own_grid = inputs.encode([picture])
    assert torch.equal(grid, own_grid)
    assert torch.equal(there, here)


def test_a_size_that_would_not_stay_is_left_to_the_server() -> None:
    grid = PictureGrid(32, least=100_000, most=100_000, largest_ratio=200)
    picture = Image.new("RGB", (500, 400))
    assert fit_picture(picture, grid) is picture


def test_nothing_is_lost_on_the_way() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    url = picture_url(Image.fromarray(noise))
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(content)))), noise)
