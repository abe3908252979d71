import ast
import importlib.util
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as transformers

from coordexp.errors import InputError, RecordError
from coordexp.families.picture_grid import PictureGrid, smart_resize
from coordexp.families.qwen3_vl.family import QWEN3_VL

GRID = QWEN3_VL.grid
Resize = Callable[..., tuple[int, int]]
sides = st.integers(1, 4000)
areas = st.integers(GRID.cell_px**2, 20_000_000)


def limited(least: int, most: int) -> PictureGrid:
    return GRID.limited(least=least, most=most)


def qwen_source() -> dict[str, Any]:
    """The functions of qwen-vl-utils; importing the module would import torchvision."""
    package = importlib.util.find_spec("qwen_vl_utils")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / "vision_process.py").read_text()
    names = {"smart_resize", "round_by_factor", "ceil_by_factor", "floor_by_factor"}
    wanted = [
        node
        for node in ast.parse(source).body
        if (isinstance(node, ast.FunctionDef) and node.name in names)
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))
    ]
    scope: dict[str, Any] = {"math": math}
    header = ast.parse("from typing import Optional, Tuple").body
    exec(compile(ast.Module([*header, *wanted], []), "qwen_vl_utils", "exec"), scope)
    return scope


def cases() -> list[tuple[int, int, int, int]]:
    """Sizes and limits of every scale, and aspect ratios of up to 200."""
    draw = random.Random(0)
    found = []
    for _ in range(3000):
        width = round(10 ** draw.uniform(0.5, 4))
        height = max(1, round(width * 200 ** draw.uniform(-1, 1)))
        if max(width, height) > 200 * min(width, height):
            continue
        least = draw.choice([GRID.least, 1, 256 * 32 * 32, draw.randint(1, 10**6)])
        most = max(
            least, draw.choice([GRID.most, 10**6, 1280 * 32 * 32, draw.randint(1024, 10**6)])
        )
        found.append((width, height, least, most))
    assert len(found) > 2000
    return found


def test_the_sizes_are_those_of_qwen_vl_utils() -> None:
    theirs = qwen_source()["smart_resize"]
    vanished = 0
    for width, height, least, most in cases():
        expected = theirs(height, width, GRID.cell_px, least, most)
        if 0 in expected:  # they round a very thin picture down to nothing
            vanished += 1
            continue
        assert smart_resize(width, height, limited(least, most)) == expected[::-1]
    assert vanished < 60


def test_the_sizes_are_those_of_transformers() -> None:
    compared = 0
    for width, height, least, most in cases():
        # Thinner ones have no cell there, and here they do.
        if min(width, height) > GRID.cell_px / 2:
            expected = transformers(height, width, GRID.cell_px, least, most)
            assert smart_resize(width, height, limited(least, most)) == expected[::-1]
            compared += 1
    assert compared > 1000


def test_the_limits_without_a_wish_are_those_of_qwen_vl_utils() -> None:
    theirs = qwen_source()
    assert theirs["IMAGE_MIN_TOKEN_NUM"] * GRID.cell_px**2 == GRID.least
    assert theirs["IMAGE_MAX_TOKEN_NUM"] * GRID.cell_px**2 == GRID.most


@given(sides, sides, areas)
def test_sides_are_multiples_of_the_grid_and_turn_with_the_picture(
    width: int, height: int, most: int
) -> None:
    limits = limited(1, most)
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(RecordError, match="too thin"):
            smart_resize(width, height, limits)
        return
    wide, high = smart_resize(width, height, limits)
    assert wide % GRID.cell_px == high % GRID.cell_px == 0
    assert smart_resize(height, width, limits) == (high, wide)
    if GRID.cell_px not in (wide, high):
        assert wide * high <= most
        assert smart_resize(wide, high, limits) == (wide, high)


@pytest.mark.parametrize(("least", "most"), [(0, 2000), (3000, 2000), (1, 1023)])
def test_limits_that_no_picture_can_meet_are_refused(least: int, most: int) -> None:
    with pytest.raises(InputError, match=r"m(in|ax)_pixels"):
        limited(least, most)
