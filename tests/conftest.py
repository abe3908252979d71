"""Fixtures for every package: a tiny base, the same with coord tokens, and a few scenes."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# huggingface_hub reads these once, when it is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# accelerate imports DeepSpeed, which would say on the standard output what it has guessed.
os.environ.setdefault("DS_ACCELERATOR", "cpu")
# The models are tiny, and pytest-xdist has a worker on every core already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.families.known import DEFAULT_FAMILY
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.scenes.digits import write_scenes
from coordexp.tiny.model import write_tiny_base
from tests.families.tiny_models import TINY_BASES

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
torch.set_num_threads(1)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny Qwen3-VL without coord tokens."""
    path = tmp_path_factory.mktemp("models") / "base"
    write_tiny_base(path, seed=0)
    return path


@pytest.fixture(scope="session")
def tiny_expanded(tiny_base: Path) -> Path:
    """The tiny base with the spec's coord tokens."""
    path = tiny_base.parent / "expanded"
    expand_vocabulary(tiny_base, path, alphabet=SPEC_ALPHABET, init="digits")
    return path


@pytest.fixture(scope="session", params=TINY_BASES)
def family_base(
    request: pytest.FixtureRequest, tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny base with coord tokens, of each family in turn."""
    if request.param == DEFAULT_FAMILY:
        return tiny_expanded
    path = tmp_path_factory.mktemp(request.param)
    TINY_BASES[request.param](path / "base")
    expand_vocabulary(path / "base", path / "expanded", alphabet=SPEC_ALPHABET, init="digits")
    return path / "expanded"


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSONL of six digit scenes with their pictures."""
    return write_scenes(tmp_path_factory.mktemp("scenes"), split="train", count=6, seed=0)
