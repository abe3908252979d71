from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.families.inputs import ModelInputs
from coordexp.model.load import load_base, load_inputs, load_tokenizer
from coordexp.rendering.encode import Encoder, Example
from tests.rendering.plain import PLAIN_STYLE

Sample = tuple[Record, Image.Image]


@pytest.fixture(scope="session")
def tokenizer(tiny_expanded: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_expanded)


@pytest.fixture(scope="session")
def processor(tiny_expanded: Path) -> ModelInputs:
    return load_inputs(tiny_expanded, min_pixels=None, max_pixels=None)


@pytest.fixture(scope="session")
def samples(scenes: Path) -> list[Sample]:
    records = RecordFile(scenes, SPEC_ALPHABET)
    return [(record, load_image(records.root, record)) for record in records]


@pytest.fixture(scope="session")
def tiny_model(tiny_expanded: Path) -> PreTrainedModel:
    model = load_base(tiny_expanded, dtype="float32", attn_implementation="sdpa")
    return model.eval()


class EncoderMaker:
    """Makes encoders of the tiny base that differ in a few fields of the style."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, processor: ModelInputs) -> None:
        self.tokenizer = tokenizer
        self.processor = processor

    def __call__(self, **changes: Any) -> Encoder:  # noqa: ANN401 - fields of a dataclass
        return Encoder(self.tokenizer, self.processor, replace(PLAIN_STYLE, **changes))


@pytest.fixture(scope="session")
def make_encoder(tokenizer: PreTrainedTokenizerBase, processor: ModelInputs) -> EncoderMaker:
    return EncoderMaker(tokenizer, processor)


def encode(encoder: Encoder, sample: Sample) -> Example:
    record, picture = sample
    return encoder.encode(record, picture, seed=0, epoch=0, index=0)
