import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from coordexp.scenes.digits import CLASS_NAMES, SCENE_SIZE
from coordexp.tiny import model as tiny_model
from coordexp.tiny.model import (
    CHAT_TEMPLATE,
    SPECIAL_TOKENS,
    VOCAB_ROWS,
    build_tokenizer,
    write_tiny_base,
)

SHIPPED = Path(tiny_model.__file__).parent / "base"
TOKENIZER = build_tokenizer()
TURNS = [
    {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "Find every digit."}],
    }
]
CHAT = (
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Find every digit.<|im_end|>\n"
    "<|im_start|>assistant\n"
)


def pieces(text: str) -> list[str]:
    return [TOKENIZER.decode([token]) for token in TOKENIZER.encode(text)]


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_tiny_base(tmp_path / name, seed=seed)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    weights = [tmp_path / name / "model.safetensors" for name in "ac"]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_it_loads_as_any_qwen3_vl_does(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForImageTextToText.from_pretrained(tiny_base)
    assert model.config.model_type == "qwen3_vl"
    assert model.dtype == torch.bfloat16
    assert sum(weight.numel() for weight in model.parameters()) <= 8_000_000
    assert (tiny_base / "model.safetensors").stat().st_size <= 16_000_000
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert model.config.tie_word_embeddings
    assert model.config.text_config.tie_word_embeddings
    for name in ("image", "video", "vision_start", "vision_end"):
        token = {"image": "<|image_pad|>", "video": "<|video_pad|>"}.get(name, f"<|{name}|>")
        assert getattr(model.config, f"{name}_token_id") == tokenizer.convert_tokens_to_ids(token)
    ends = model.generation_config.eos_token_id
    assert tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]) == ends
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


def test_a_scene_keeps_its_size(tiny_base: Path) -> None:
    processor = AutoImageProcessor.from_pretrained(tiny_base, backend="pil")
    picture = Image.new("RGB", (SCENE_SIZE, SCENE_SIZE), (255, 0, 0))
    patches = processor(images=[picture], return_tensors="pt")
    assert patches["image_grid_thw"].tolist() == [[1, SCENE_SIZE // 8, SCENE_SIZE // 8]]
    assert json.loads((tiny_base / "video_preprocessor_config.json").read_text())["patch_size"] == 8


def test_it_generates(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    processor = AutoImageProcessor.from_pretrained(tiny_base, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(tiny_base)
    patches = processor(images=[Image.new("RGB", (64, 32))], return_tensors="pt")
    text = CHAT.replace("<|image_pad|>", "<|image_pad|>" * 8)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    written = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == model.config.image_token_id).int(),
        **patches,
        max_new_tokens=3,
    )
    assert written.shape[1] > ids.shape[1]


def test_the_chat_template_puts_the_image_first(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    asked = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    assert asked == CHAT
    answered = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "Be exact."},
            *TURNS,
            {"role": "assistant", "content": "{}"},
        ],
        tokenize=False,
    )
    assert answered == f"<|im_start|>system\nBe exact.<|im_end|>\n{CHAT}{{}}<|im_end|>\n"


def test_an_answer_is_cut_at_its_joints() -> None:
    answer = '{"object_1": {"desc": "three", "bbox_2d": [12, 999, 0, 7]}}'
    head = ['{"', "object_", "1", '": {"', "desc", '": "', "three", '", "', "bbox_2d", '": [']
    assert pieces(answer) == [*head, *"12", ", ", *"999", ", ", "0", ", ", "7", "]}}"]
    assert pieces("{}") == ["{}"]


def test_text_between_coord_tokens_is_short() -> None:
    assert [len(pieces(text)) for text in ('": ["', '", "', '"]}, "', '"]}}')] == [1, 1, 1, 1]


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, *CLASS_NAMES, *"0123456789", "{}"])
def test_each_of_these_is_one_token(token: str) -> None:
    assert len(TOKENIZER.encode(token)) == 1


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_it_knows_no_coord_tokens_and_leaves_rows_to_spare() -> None:
    assert len(TOKENIZER) < VOCAB_ROWS
    assert not any("coord" in token for token in TOKENIZER.get_vocab())


def settings_in(file: Path) -> object:
    """Return a JSON file's content but for the version of the library that wrote it."""
    content = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key != "transformers_version"}


def test_the_shipped_base_is_what_the_code_builds(tiny_base: Path) -> None:
    shipped = {file.name: file for file in SHIPPED.iterdir()}
    written = {file.name for file in tiny_base.iterdir()}
    assert set(shipped) == written | {"README.md", "coordexp.json"}
    for name, file in shipped.items():
        if file.suffix == ".json" and name != "coordexp.json":
            assert settings_in(file) == settings_in(tiny_base / name), name
    assert shipped["chat_template.jinja"].read_text() == CHAT_TEMPLATE


def test_the_shipped_weights_fit_and_are_not_random(tiny_base: Path) -> None:
    trained, random = (load_file(folder / "model.safetensors") for folder in (SHIPPED, tiny_base))
    assert {name: tensor.shape for name, tensor in trained.items()} == {
        name: tensor.shape for name, tensor in random.items()
    }
    assert all(bool(tensor.isfinite().all()) for tensor in trained.values())
    assert not any(
        torch.equal(trained[name], random[name]) for name in trained if name.endswith("weight")
    )
