"""Experts whose matrices lie in the files one by one, as in older mixtures."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from coordexp.errors import CheckpointError
from coordexp.model.load import check_base
from tests.families.tiny_models import TINY_MIXTURES


@pytest.fixture(scope="module", params=TINY_MIXTURES)
def stacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / request.param
    TINY_MIXTURES[request.param](path)
    return path


def one_by_one(name: str, tensor: Tensor) -> dict[str, Tensor]:
    before, _, kind = name.rpartition(".")
    if name.startswith("mtp.") or not before.endswith(".experts"):
        return {name: tensor}
    return {
        f"{before}.{expert}.{kind}.weight": matrix.contiguous()
        for expert, matrix in enumerate(tensor)
    }


@pytest.mark.parametrize("drafts", [False, True], ids=["", "stacks of drafts do not count"])
def test_they_get_no_lora_and_the_way_out_is_named(
    stacked: Path, tmp_path: Path, drafts: bool
) -> None:
    base = tmp_path / "apart"
    shutil.copytree(stacked, base)
    tensors = load_file(base / "model.safetensors").items()
    apart = {key: one for item in tensors for key, one in one_by_one(*item).items()}
    if drafts and "mtp.fc.weight" in apart:
        apart |= {f"mtp.mlp.experts.{kind}": apart["mtp.fc.weight"].clone() for kind in KINDS}
    save_file(apart, base / "model.safetensors", {"format": "pt"})
    check_base(base, adapts_experts=False)
    with pytest.raises(CheckpointError, match=r"one by one.*save_original_format=False"):
        check_base(base, adapts_experts=True)


def test_stacks_are_what_is_expected(stacked: Path) -> None:
    check_base(stacked, adapts_experts=True)


KINDS = ("gate_up_proj", "down_proj")
