"""ms-swift writes, scales and resizes what we write, scale and resize."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from coordexp.config.custom import CoordTokens
from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.mix import Mix
from coordexp.integrations.ms_swift.messages import write_messages
from coordexp.integrations.ms_swift.template import apply_coord_template_adapter, write_as_we_do
from coordexp.rendering.encode import Encoder
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.step.dataset import RecordDataset
from tests.integrations.conftest import MakeConfig

pytestmark = [pytest.mark.swift, pytest.mark.usefixtures("swift")]


@pytest.fixture
def template(tiny_expanded: Path) -> Any:
    """Return ms-swift's own template of the tiny base, in training."""
    from swift.model import get_model_processor
    from swift.template import get_template

    _, processor = get_model_processor(
        str(tiny_expanded), model_type="qwen3_vl", load_model=False, torch_dtype=torch.float32
    )
    found = get_template(processor)
    found.set_mode("train")
    return found


def scaled(template: Any, bbox: list[Any]) -> list[Any]:
    from swift.template.template_inputs import StdTemplateInputs

    inputs = StdTemplateInputs(
        messages=[], objects={"bbox": [bbox], "width": [128], "height": [96], "image_id": [0]}
    )
    template.normalize_bbox(inputs)
    result: list[Any] = inputs.objects["bbox"][0]
    return result


def test_without_the_adapter_bins_are_scaled_a_second_time(template: Any) -> None:
    # round(999 / 128 * 1000) = 7805 and round(999 / 96 * 1000) = 10406
    assert scaled(template, [0, 0, 999, 999]) == [0, 0, 7805, 10406]
    with pytest.raises(TypeError):
        scaled(template, ["<|coord_0|>"] * 4)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("skip", [True, False])
def test_scaling_is_left_out_exactly_when_both_keys_are_true(
    template: Any, *, enabled: bool, skip: bool
) -> None:
    apply_coord_template_adapter(template, CoordTokens(enabled=enabled, skip_bbox_norm=skip))
    left = scaled(template, [0, 0, 999, 999]) == [0, 0, 999, 999]
    assert left == (enabled and skip)


def test_tokens_in_boxes_stay_as_they_are(template: Any) -> None:
    apply_coord_template_adapter(template, CoordTokens(enabled=True))
    tokens = [f"<|coord_{k}|>" for k in (1, 2, 3, 999)]
    assert scaled(template, list(tokens)) == tokens


def test_plain_ms_swift_ends_answers_another_way(
    template: Any, encoder: Encoder, scenes: Path, tmp_path: Path
) -> None:
    template.image_token_id = encoder.image_token_id
    row = rows_of(Mix.open([scenes], SPEC_ALPHABET), encoder, tmp_path)[0]
    assert len(template.encode(row)["input_ids"]) == len(example(scenes, encoder, 0)) + 1


@pytest.mark.parametrize("name", ["standard", "compact", "no system prompt", "integers", "limits"])
def test_both_encode_the_same(
    name: str, template: Any, make_config: MakeConfig, scenes: Path, tmp_path: Path
) -> None:
    changes: dict[str, dict[str, dict[str, Any]]] = {
        "compact": {"custom": {"json_format": "compact"}},
        "no system prompt": {"custom": {"system_prompt": None}},
        "integers": {
            "training": {"optimizer": "multimodal"},
            "custom": {
                "coord_tokens": {"enabled": False},
                "coord_soft_ce_w1": {"enabled": False},
                "coord_offset": {"enabled": False},
            },
        },
        "limits": {"data": {"min_pixels": 4096, "max_pixels": 9000}},
    }
    encoder = encoder_of(make_config(tmp_path / "unused", **changes.get(name, {})))
    assert_the_same(template, encoder, scenes, tmp_path)


def test_unusual_records_are_encoded_the_same(
    template: Any, encoder: Encoder, tmp_path: Path
) -> None:
    transparent = Image.effect_noise((100, 60), 80).convert("RGBA")
    transparent.putalpha(100)
    transparent.save(tmp_path / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((60, 100), 80).save(tmp_path / "lying.png", exif=exif)
    Image.effect_noise((37, 53), 80).save(tmp_path / "grey.png")
    box = {"desc": 'a "cat", ünder\n<b>', "bbox_2d": [0, 0, 30, 40.5]}
    lines: list[dict[str, Any]] = [
        {"images": ["clear.png"], "width": 100, "height": 60, "objects": [box]},
        {"images": ["lying.png"], "width": 100, "height": 60, "objects": [], "prompt": "A cat?"},
        {"images": ["grey.png"], "width": 37, "height": 53, "objects": [box, box]},
        {
            "images": ["grey.png"],
            "messages": [
                {"role": "user", "content": "What is it? <image> Say."},
                {"role": "assistant", "content": "Noise."},
                {"role": "user", "content": "Sure?"},
                {"role": "assistant", "content": "Yes."},
            ],
        },
    ]
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert_the_same(template, encoder, file, tmp_path)


def assert_the_same(template: Any, encoder: Encoder, file: Path, out: Path) -> None:
    write_as_we_do(template, encoder)
    for index, row in enumerate(rows_of(Mix.open([file], SPEC_ALPHABET), encoder, out)):
        theirs, ours = template.encode(row), example(file, encoder, index)
        assert theirs["input_ids"] == ours.input_ids.tolist()
        assert theirs["labels"] == ours.labels.tolist()
        assert theirs.get("loss_scale") is None
        assert torch.equal(theirs["image_grid_thw"], ours.image_grid_thw)
        assert torch.equal(theirs["pixel_values"], ours.pixel_values)


def rows_of(samples: Mix, encoder: Encoder, out: Path) -> list[dict[str, Any]]:
    write_messages(samples, range(len(samples)), encoder, out / "rows.jsonl", out / "pictures")
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def example(file: Path, encoder: Encoder, index: int) -> Any:
    return RecordDataset(Mix.open([file], SPEC_ALPHABET), encoder, seed=0, max_length=None)[index]


def encoder_of(config: Config) -> Encoder:
    return build_encoder(config.model.path, build_style(config))
