"""However the same records are cut, a step is the same: loss, gradient, log and evaluation."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from coordexp.config.schema import Config
from coordexp.families.known import DEFAULT_FAMILY
from coordexp.scenes.digits import write_scenes
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.run.build_feed import build_feed
from tests.families.tiny_models import JOINED, TINY_BASES
from tests.training.first_step import FirstStep, first_steps_on_two_ranks, take_first_step

pytestmark = pytest.mark.slow
MakeConfig = Callable[..., Config]

RECORDS = 24
# Batch and accumulation; a pack counts as one, and the last step of an epoch takes what is left.
PACKED = {"packing": True, "global_max_length": 500, "packing_buffer": 8}
ONE_RANK: dict[str, dict[str, object]] = {
    "1x24": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 24},
    "24x1": {
        "per_device_train_batch_size": 24,
        "gradient_accumulation_steps": 1,
    },
    "4x6": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 6},
    "packed": {"gradient_accumulation_steps": 24, **PACKED},
}
TWO_RANKS: dict[str, dict[str, object]] = {
    "1x12": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 12},
    # Five batches over two ranks, the last one shorter: one rank gets an empty batch.
    "5x3": {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 3},
    # Evaluated padded, in five batches; and the loss without logits, an empty pack included.
    "packed on two": {
        **PACKED,
        "objective_backend": "fused",
        "gradient_accumulation_steps": 24,
        "eval_packing": False,
        "per_device_eval_batch_size": 5,
    },
}
EVALUATED = ("packed", "packed on two")
# Of another family's base, in the same launch; what it is alone is in tests/families.
FAMILIES = [name for name in TINY_BASES if name not in (DEFAULT_FAMILY, *JOINED)]


@pytest.fixture(scope="module")
def framed_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 scenes with pictures of four sizes."""
    path = write_scenes(tmp_path_factory.mktemp("split"), split="train", count=RECORDS, seed=1)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["width"], row["height"] = ((128, 128), (128, 160), (176, 128), (144, 144))[number % 4]
        (name,) = row["images"]
        framed = Image.new("RGB", (row["width"], row["height"]), "gray")
        framed.paste(Image.open(path.parent / name))
        framed.save(path.parent / name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def configs(
    make_config: MakeConfig,
    other_families: dict[str, Path],
    framed_scenes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Config]:
    out = tmp_path_factory.mktemp("runs")
    small = {"max_pixels": 48 * 48}  # of the model, for speed
    of_families = {
        f"{family} {name}": make_config(
            out / f"{family} {name}",
            model={"path": str(other_families[family]), "dtype": "float32"},
            tuner={"target_modules": "all-linear"},
            training={"per_device_train_batch_size": 1, **cuts[name]},
            data={"train": str(framed_scenes), "max_pixels": 4 * 28**2},
        )
        for family in FAMILIES
        for name, cuts in (("1x24", ONE_RANK), ("packed on two", TWO_RANKS))
    }
    return of_families | {
        name: make_config(
            out / name,
            training={"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, **changes},
            custom={"token_type_metrics": {"enabled": True}},
            data={"train": str(framed_scenes), **small}
            | ({"eval": str(framed_scenes)} if name in EVALUATED else {}),
        )
        for name, changes in (ONE_RANK | TWO_RANKS).items()
    }


@pytest.fixture(scope="module")
def steps(
    configs: dict[str, Config], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, FirstStep]:
    """The first step of every cut, those of two ranks from one launch."""
    found = {name: take_first_step(configs[name]) for name in ONE_RANK}
    out = tmp_path_factory.mktemp("two")
    on_two = [*TWO_RANKS, *(f"{family} packed on two" for family in FAMILIES)]
    found |= {f"{family} 1x24": take_first_step(configs[f"{family} 1x24"]) for family in FAMILIES}
    steps = first_steps_on_two_ranks([configs[name] for name in on_two], out)
    found |= dict(zip(on_two, steps, strict=True))
    return found


OTHERS = [name for name in ONE_RANK | TWO_RANKS if name != "1x24"]


def figures(row: dict[str, float], prefix: str = "") -> dict[str, float]:
    names = ("loss", "base_ce/", "token_acc", "coord_diag/", "token_type/")
    return {
        key.removeprefix(prefix): value
        for key, value in row.items()
        if key.removeprefix(prefix).startswith(names) and key.startswith(prefix)
    }


@pytest.mark.parametrize("name", OTHERS)
def test_the_log_is_the_same(steps: dict[str, FirstStep], name: str) -> None:
    expected, got = figures(steps["1x24"].row), figures(steps[name].row)
    assert len(expected) == 15
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("whole", "name"),
    [
        *(("1x24", name) for name in OTHERS),
        *((f"{family} 1x24", f"{family} packed on two") for family in FAMILIES),
    ],
)
def test_the_gradient_is_the_same(steps: dict[str, FirstStep], whole: str, name: str) -> None:
    expected, got = steps[whole].gradients, steps[name].gradients
    assert got.keys() == expected.keys()
    for key, gradient in expected.items():
        error = (got[key] - gradient).norm() / gradient.norm().clamp_min(1e-12)
        assert error < 1e-5 or (got[key] - gradient).abs().max() < 1e-8, (key, float(error))


@pytest.mark.parametrize("name", EVALUATED)
def test_an_evaluation_is_on_the_same_scale(steps: dict[str, FirstStep], name: str) -> None:
    expected = figures(steps["1x24"].row)
    assert figures(steps[name].evaluation, "eval_") == pytest.approx(expected, rel=1e-5)


def test_packs_are_several_shared_and_odd(configs: dict[str, Config]) -> None:
    config = configs["packed"]
    encoder = build_encoder(config.model.path, build_style(config))
    plan = build_feed(config.data.parts, config, encoder, training=True).plan
    sizes = [len(batch) for batch in plan.batches(0)]
    assert sum(sizes) == RECORDS
    assert max(sizes) > 2
    assert len(sizes) % 2 == 1  # so that one of two ranks gets an empty pack
