import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import CheckpointError
from coordexp.model.load import (
    load_base,
    load_checkpoint,
    load_coord_vocab,
    load_inputs,
    load_tokenizer,
)


def open_fp32(path: Path) -> PreTrainedModel:
    return load_base(path, dtype="float32", attn_implementation="sdpa")


@pytest.mark.parametrize("what", ["tokenizer", "processor", "base", "checkpoint", "vocab"])
def test_a_missing_directory_is_named(tmp_path: Path, what: str) -> None:
    nowhere = tmp_path / "nowhere"
    openers: dict[str, Callable[[], object]] = {
        "tokenizer": lambda: load_tokenizer(nowhere),
        "processor": lambda: load_inputs(nowhere, min_pixels=None, max_pixels=None),
        "base": lambda: open_fp32(nowhere),
        "checkpoint": lambda: load_checkpoint(nowhere, nowhere),
        "vocab": lambda: load_coord_vocab(nowhere, SPEC_ALPHABET),
    }
    with pytest.raises(CheckpointError) as refusal:
        openers[what]()
    assert str(refusal.value) == f"{nowhere}: there is no such directory"


def test_a_base_without_coord_tokens_says_how_to_get_them(tiny_base: Path) -> None:
    with pytest.raises(CheckpointError, match=r"base: .*coordexp vocab expand SRC DST"):
        load_coord_vocab(tiny_base, SPEC_ALPHABET)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", '{"model_type": "no such model"}', "expected the model_type of a family"),
        ("model.safetensors", None, "the model cannot be loaded"),
        ("model.safetensors", "cut off", "the model cannot be loaded"),
    ],
)
def test_a_broken_base_is_refused(
    bases: dict[bool, Path], tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bases[True], broken)
    (broken / name).unlink()
    if content is not None:
        (broken / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        open_fp32(broken)


def test_a_quantised_base_is_refused(bases: dict[bool, Path], tmp_path: Path) -> None:
    quantised = tmp_path / "quantised"
    shutil.copytree(bases[True], quantised)
    config = json.loads((quantised / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (quantised / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"quantised weights \(bitsandbytes\) .*QLoRA"):
        open_fp32(quantised)


def test_a_base_that_lacks_weights_is_refused(bases: dict[bool, Path], tmp_path: Path) -> None:
    """transformers would fill them with random numbers."""
    broken = tmp_path / "broken"
    shutil.copytree(bases[True], broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.language_model.norm.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 weights are missing, .*norm\.weight first"):
        open_fp32(broken)


def test_a_base_with_fewer_rows_than_its_config_says_is_refused(
    bases: dict[bool, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bases[True], broken)
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["vocab_size"] += 1
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="the model cannot be loaded"):
        open_fp32(broken)


def test_pixel_limits_replace_the_base_s_own(tiny_base: Path) -> None:
    own = load_inputs(tiny_base, min_pixels=None, max_pixels=None)
    other = load_inputs(tiny_base, min_pixels=1024, max_pixels=4096)
    assert (other.grid.least, other.grid.most) == (1024, 4096)
    assert own.grid.most != 4096


def test_another_model_s_image_processor_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "other")
    settings = {"image_processor_type": "CLIPImageProcessor"}
    (tmp_path / "other" / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="expected a Qwen-VL image processor, got CLIP"):
        load_inputs(tmp_path / "other", min_pixels=None, max_pixels=None)
