from copy import deepcopy

import pytest
from transformers import PreTrainedTokenizerBase

from coordexp.errors import CheckpointError
from coordexp.rendering.conversation import Conversation
from coordexp.tiny.model import CHAT_TEMPLATE


def with_template(tokenizer: PreTrainedTokenizerBase, template: str) -> PreTrainedTokenizerBase:
    other = deepcopy(tokenizer)
    other.chat_template = template
    return other


def test_a_prompt_ends_where_the_answer_begins(tokenizer: PreTrainedTokenizerBase) -> None:
    conversation = Conversation(tokenizer, system_prompt=None)
    assert conversation.end_of_turn == "<|im_end|>"
    assert conversation.prompt("Find.") == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Find.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_system_prompt_has_its_own_turn(tokenizer: PreTrainedTokenizerBase) -> None:
    conversation = Conversation(tokenizer, system_prompt="Be exact.")
    assert conversation.prompt("Find.").startswith(
        "<|im_start|>system\nBe exact.<|im_end|>\n<|im_start|>user\n"
    )


def test_a_template_that_thinks_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    """Its generation prompt opens a thought, asked for or not, that no earlier answer has."""
    thinking = CHAT_TEMPLATE.replace(
        "'<|im_start|>assistant\\n' }}", "'<|im_start|>assistant\\n<think>\\n' }}"
    )
    assert thinking != CHAT_TEMPLATE
    with pytest.raises(CheckpointError, match="template that always thinks"):
        Conversation(with_template(tokenizer, thinking), system_prompt=None)


def test_a_template_that_puts_empty_thoughts_into_answers_is_refused(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    thinking = CHAT_TEMPLATE.replace(
        "{{- message.content }}",
        "{{- ('<think></think>' if message.role == 'assistant' else '') + message.content }}",
    )
    with pytest.raises(CheckpointError, match="template that always thinks"):
        Conversation(with_template(tokenizer, thinking), system_prompt=None)


def test_a_turn_must_end_with_one_token(tokenizer: PreTrainedTokenizerBase) -> None:
    wordy = CHAT_TEMPLATE.replace("'<|im_end|>\\n'", "'that was all\\n'")
    with pytest.raises(CheckpointError, match="one token to end the assistant's turn"):
        Conversation(with_template(tokenizer, wordy), system_prompt=None)


def test_a_base_without_template_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    bare = deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(CheckpointError, match="no chat template"):
        Conversation(bare, system_prompt=None)
