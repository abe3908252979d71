"""LoRA on a mixture's experts over two ranks, also where no token goes to some of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from coordexp.config.schema import Config
from tests.families.tiny_mixture import EXPERTS
from tests.families.tiny_models import TINY_MIXTURES
from tests.training.first_step import FirstStep, first_steps_on_two_ranks, take_first_step

pytestmark = pytest.mark.long
MakeConfig = Callable[..., Config]

ROUTERS = ("as they are", "undecided")
CASES = [(family, routers) for family in TINY_MIXTURES for routers in ROUTERS]


def without_preference(base: Path, dst: Path) -> Path:
    """Write a base whose routers find all experts even, and so send all tokens to the same two."""
    shutil.copytree(base, dst)
    weights = dst / "model.safetensors"
    tensors = load_file(weights)
    routers = [name for name in tensors if name.endswith(".mlp.gate.weight")]
    assert routers
    save_file(
        tensors | {name: torch.zeros_like(tensors[name]) for name in routers},
        weights,
        {"format": "pt"},
    )
    return dst


@pytest.fixture(scope="module")
def steps(
    make_config: MakeConfig,
    other_families: dict[str, Path],
    scenes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str, int], FirstStep]:
    """The first step of each case on one rank and on two, those of two from one launch."""
    out = tmp_path_factory.mktemp("experts")

    def config(family: str, routers: str, ranks: int) -> Config:
        base, name = other_families[family], f"{family} {routers} {ranks}"
        if routers == "undecided":
            base = without_preference(base, out / f"base of {name}")
        return make_config(
            out / name,
            model={"path": str(base), "dtype": "float32"},
            tuner={"target_modules": "all-linear", "train_experts": True, "lora_rank": 2},
            training={
                "per_device_train_batch_size": 1,
                "gradient_accumulation_steps": 6 // ranks,
                "gradient_checkpointing": ranks == 2,
            },
            data={"train": str(scenes), "max_pixels": 4 * 28**2},
        )

    found = {(*case, 1): take_first_step(config(*case, 1)) for case in CASES}
    steps = first_steps_on_two_ranks([config(*case, 2) for case in CASES], out)
    found |= {(*case, 2): step for case, step in zip(CASES, steps, strict=True)}
    return found


@pytest.mark.parametrize(("family", "routers"), CASES)
def test_two_ranks_are_one(
    steps: dict[tuple[str, str, int], FirstStep], family: str, routers: str
) -> None:
    one, two = (steps[family, routers, ranks] for ranks in (1, 2))
    assert two.row["loss"] == pytest.approx(one.row["loss"], rel=1e-5)
    assert two.gradients.keys() == one.gradients.keys()
    for key, expected in one.gradients.items():
        error = float((two.gradients[key] - expected).norm())
        assert error < max(2e-5 * float(expected.norm()), 1e-8), key


@pytest.mark.parametrize(("family", "routers"), CASES)
def test_an_expert_that_no_token_goes_to_learns_nothing_and_holds_nobody_up(
    steps: dict[tuple[str, str, int], FirstStep], family: str, routers: str
) -> None:
    """PEFT adds to the whole stack, so that every adapter is part of every pass."""
    gradients = steps[family, routers, 2].gradients
    ups = [one for name, one in gradients.items() if ".experts." in name and "lora_B" in name]
    assert ups
    idle = 0 if routers == "as they are" else EXPERTS - 2
    for up in ups:
        of_experts = up.unflatten(1, (-1, EXPERTS)).abs().amax((0, 1))
        assert int((of_experts == 0).sum()) == idle
