"""The answer follows an empty block of thoughts, as the base's own template writes it."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.chat import Chat, Message
from coordexp.data.contract.record import Record
from coordexp.errors import CheckpointError
from coordexp.export.model_card import write_trained_card
from coordexp.model.load import load_inputs, load_tokenizer
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.rendering.conversation import Conversation
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from tests.families.tiny_recurrent import write_tiny_qwen3_5
from tests.rendering.plain import PLAIN_STYLE

EMPTY = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qwen3_5")
    write_tiny_qwen3_5(path / "plain")
    expand_vocabulary(path / "plain", path / "base", alphabet=SPEC_ALPHABET, init="digits")
    return path / "base"


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(base)


@pytest.fixture(scope="module")
def encoder(base: Path, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    return Encoder(tokenizer, load_inputs(base, min_pixels=None, max_pixels=None), PLAIN_STYLE)


def turns(question: str) -> list[dict[str, object]]:
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("system_prompt", [None, "Be exact."])
def test_the_prompt_is_the_template_s_own_without_thoughts(
    tokenizer: PreTrainedTokenizerBase, system_prompt: str | None
) -> None:
    asked = turns("Find.")
    if system_prompt is not None:
        asked.insert(0, {"role": "system", "content": system_prompt})
    own = tokenizer.apply_chat_template(
        asked, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    prompt = Conversation(tokenizer, system_prompt=system_prompt).prompt("Find.")
    assert prompt == own
    assert prompt.endswith(EMPTY)


def test_unasked_the_template_would_begin_to_think(tokenizer: PreTrainedTokenizerBase) -> None:
    """So whoever leaves it out asks the model what it was never taught."""
    own = tokenizer.apply_chat_template(turns("Find."), tokenize=False, add_generation_prompt=True)
    assert str(own).endswith("<|im_start|>assistant\n<think>\n")


def test_what_is_trained_is_the_template_s_own_history(encoder: Encoder) -> None:
    """Prompt, answer and end are the text that the template writes of an answered question."""
    record = Record(images=("a",), width=64, height=64, objects=())
    picture = Image.new("RGB", (64, 64))
    example = encoder.encode(record, picture, seed=0, epoch=0, index=0)
    asked = encoder.encode_prompt(record, picture)
    own = encoder.tokenizer.apply_chat_template(
        [*turns(PLAIN_STYLE.user_prompt), {"role": "assistant", "content": "{}"}], tokenize=False
    )
    cells = int((example.input_ids == encoder.image_token_id).sum())
    written = encoder.tokenizer.decode(example.input_ids).replace("<|image_pad|>" * cells, "")
    assert written + "\n" == str(own).replace("<|image_pad|>", "")
    assert example.input_ids[: len(asked)].tolist() == asked.input_ids.tolist()
    labelled = example.input_ids[example.labels != IGNORE_INDEX]
    assert encoder.tokenizer.decode(labelled) == "{}<|im_end|>"
    assert encoder.length(record) == len(example)


def test_a_record_with_its_own_prompt_is_answered_behind_the_same_block(encoder: Encoder) -> None:
    record = Record(images=("a",), width=64, height=64, objects=(), prompt="And now?")
    asked = encoder.encode_prompt(record, Image.new("RGB", (64, 64)))
    assert encoder.tokenizer.decode(asked.input_ids).endswith(f"And now?<|im_end|>\n{EMPTY}")


def test_a_chat_with_one_answer_can_be_trained(encoder: Encoder) -> None:
    chat = Chat(messages=(Message("user", "hello"), Message("assistant", "good day")), images=())
    example = encoder.encode_chat(chat, [])
    own = encoder.tokenizer.apply_chat_template(
        [{"role": one.role, "content": one.content} for one in chat.messages], tokenize=False
    )
    assert encoder.tokenizer.decode(example.input_ids) + "\n" == own


def test_a_chat_with_two_answers_is_refused(encoder: Encoder) -> None:
    """Once another question follows, the first answer has lost the block that it was given to."""
    messages = [Message(role, text) for text in ("one", "two") for role in ("user", "assistant")]
    with pytest.raises(CheckpointError, match="writes a turn another way once others follow"):
        encoder.encode_chat(Chat(messages=tuple(messages), images=()), [])


def test_the_card_says_how_to_ask(base: Path, tmp_path: Path) -> None:
    style = replace(PLAIN_STYLE, user_prompt="Find.")
    write_trained_card(tmp_path, base, name="run", style=style, adapter=False)
    assert "enable_thinking=False" in (tmp_path / "README.md").read_text()
