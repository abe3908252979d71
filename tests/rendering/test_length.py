"""The length of an example, known before its picture is opened."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject
from coordexp.errors import RecordError
from coordexp.families.inputs import ModelInputs
from coordexp.rendering.encode import Encoder
from tests.model.qwen import load_real_tokenizer
from tests.rendering.conftest import EncoderMaker, Sample
from tests.rendering.plain import PLAIN_STYLE

bins = st.integers(0, 999)
geometries = st.one_of(
    st.tuples(bins, bins, bins, bins).map(
        lambda b: Geometry(
            "bbox_2d", (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])), "bin"
        )
    ),
    st.lists(st.tuples(bins, bins), min_size=3, max_size=9, unique=True).map(
        lambda points: Geometry("poly", tuple(bin_ for point in points for bin_ in point), "bin")
    ),
)
# Anything a description may hold, and what is hard to split beside JSON's own characters.
descs = st.one_of(
    st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip())),
    st.sampled_from(
        ['a "b"] }, {"object_2": é 汉字', "4711", "colon: ", " lead", "new\nline", "'s"]
    ),
)
items = st.builds(RecordObject, desc=descs, geometry=geometries)
records = st.builds(
    Record,
    images=st.just(("x.png",)),
    width=st.integers(1, 400),
    height=st.integers(3, 150),
    objects=st.lists(items, max_size=12).map(tuple),
    prompt=st.none() | st.sampled_from(["Point at the cat.", "猫?"]),
)


def encoded_length(encoder: Encoder, record: Record, *, epoch: int) -> int:
    picture = Image.new("RGB", (record.width, record.height))
    return len(encoder.encode(record, picture, seed=3, epoch=epoch, index=5))


@pytest.fixture(scope="module")
def real_encoder(processor: ModelInputs) -> Encoder:
    tokenizer: PreTrainedTokenizerBase = load_real_tokenizer()
    tokenizer.add_tokens([SPEC_ALPHABET.wildcard, *SPEC_ALPHABET.tokens()], special_tokens=True)
    return Encoder(tokenizer, processor, PLAIN_STYLE)


@pytest.mark.parametrize("coord_tokens", [True, False])
@pytest.mark.parametrize("json_format", ["standard", "compact"])
def test_lengths_of_scenes_are_exact(
    make_encoder: EncoderMaker,
    samples: list[Sample],
    coord_tokens: bool,
    json_format: Literal["standard", "compact"],
) -> None:
    encoder = make_encoder(
        coord_tokens=coord_tokens, json_format=json_format, object_ordering="random"
    )
    for record, picture in samples:
        lengths = {len(encoder.encode(record, picture, seed=0, epoch=e, index=0)) for e in range(4)}
        assert lengths == {encoder.length(record)}
        assert encoder.prompt_length(record) == len(encoder.encode_prompt(record, picture))


@pytest.mark.slow
@given(record=records, epoch=st.integers(0, 3), coord_tokens=st.booleans())
def test_lengths_are_exact_in_every_order_with_the_real_tokenizer(
    real_encoder: Encoder,
    make_encoder: EncoderMaker,
    record: Record,
    epoch: int,
    coord_tokens: bool,
) -> None:
    style = make_encoder(coord_tokens=coord_tokens, object_ordering="random").style
    encoder = Encoder(real_encoder.tokenizer, real_encoder.inputs, style)
    assert encoder.length(record) == encoded_length(encoder, record, epoch=epoch)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (16, 200), (640, 427), (1000, 5), (97, 480)])
def test_tokens_of_a_picture_follow_the_processors_limits(
    make_encoder: EncoderMaker, size: tuple[int, int]
) -> None:
    encoder = make_encoder()
    record = Record(images=("x.png",), width=size[0], height=size[1], objects=())
    assert encoder.length(record) == encoded_length(encoder, record, epoch=0)


def test_a_picture_that_is_too_thin_is_an_error_of_its_record(make_encoder: EncoderMaker) -> None:
    with pytest.raises(RecordError, match=r"images\[0\]: 201x1 is too thin"):
        make_encoder().length(Record(images=("x.png",), width=201, height=1, objects=()))
