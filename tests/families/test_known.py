import json
from pathlib import Path

import pytest

from coordexp.errors import CheckpointError
from coordexp.families.inputs import INPUTS
from coordexp.families.known import (
    DEFAULT_FAMILY,
    FAMILIES,
    family_of,
    load_family,
    load_grid,
)
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.load import load_inputs


def write_checkpoint(folder: Path, config: object, processor: object = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_every_family_has_both_halves_under_its_own_name() -> None:
    assert FAMILIES.keys() == INPUTS.keys()
    assert all(name == family.name for name, family in FAMILIES.items())
    assert DEFAULT_FAMILY in FAMILIES


def test_a_checkpoint_s_family_is_its_model_type(tiny_base: Path) -> None:
    assert load_family(tiny_base) is family_of({"model_type": "qwen3_vl"}) is QWEN3_VL


@pytest.mark.parametrize(
    ("config", "got"),
    [
        ({"model_type": "llava"}, "'llava'"),
        ({"model_type": ["qwen3_vl"]}, r"\['qwen3_vl'\]"),
        ({"architectures": ["Some"]}, "none"),
    ],
)
def test_an_unknown_family_is_refused_with_those_that_are_known(
    tmp_path: Path, config: dict[str, object], got: str
) -> None:
    known = ", ".join(FAMILIES)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*known \({known}\), got {got}"):
        load_family(write_checkpoint(tmp_path, config))


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read: No such file"):
        load_family(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_family(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json: expected a JSON object"):
        load_family(write_checkpoint(tmp_path, []))


def test_a_checkpoint_s_own_cell_and_limits_are_taken(tiny_base: Path) -> None:
    grid = load_grid(tiny_base)
    assert (grid.cell_px, grid.least, grid.most) == (16, 1024, 65_536)
    assert grid == load_inputs(tiny_base, min_pixels=None, max_pixels=None).grid


def test_older_names_of_the_limits_count_as_they_do_in_the_processor(family_base: Path) -> None:
    inputs = load_inputs(family_base, min_pixels=None, max_pixels=None)
    assert load_grid(family_base) == inputs.grid


def test_without_limits_of_its_own_it_has_as_many_cells_as_its_family(tmp_path: Path) -> None:
    processor = {"patch_size": 8, "merge_size": 2}
    grid = load_grid(write_checkpoint(tmp_path, {"model_type": "qwen3_vl"}, processor))
    assert (grid.least, grid.most) == (4 * 16**2, 16_384 * 16**2)


@pytest.mark.parametrize("processor", [{"patch_size": 16}, {"patch_size": 0, "merge_size": 2}])
def test_a_processor_without_cell_is_refused(tmp_path: Path, processor: dict[str, int]) -> None:
    path = write_checkpoint(tmp_path, {"model_type": "qwen3_vl"}, processor)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json: expected patch_size"):
        load_grid(path)
