from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Geometry, RecordObject
from coordexp.rendering.collate import TOKEN_TYPES, Collator
from coordexp.rendering.dense_json import JsonFormat, render_answer
from coordexp.rendering.encode import Encoder, Example
from coordexp.rendering.packing import PackCollator
from coordexp.rendering.token_types import DESC, NO_TYPE, STRUCT, character_types, token_types
from tests.rendering.conftest import EncoderMaker, Sample

LETTERS = {DESC: "d", STRUCT: "s", NO_TYPE: "."}


def drawn(answer: str, descs: list[str], json_format: JsonFormat = "standard") -> str:
    return "".join(LETTERS[int(kind)] for kind in character_types(answer, descs, json_format))


def test_types_are_those_of_characters() -> None:
    answer = '{"object_1": {"desc": "ox", "bbox_2d": ["<|coord_7|>", "<|coord_12|>"]}}<end>'
    marked = drawn(answer, ["ox"])
    assert [answer[i] for i, kind in enumerate(marked) if kind == "d"] == list("ox")
    assert "".join(c for c, kind in zip(answer, marked, strict=True) if kind == ".") == (
        "<|coord_7|><|coord_12|>"
    )


def test_digits_of_the_text_baseline_have_no_type() -> None:
    answer = '{"object_1":{"desc":"7 up","bbox_2d":[1,20,300,4]}}'
    marked = drawn(answer, ["7 up"], "compact")
    assert "".join(c for c, kind in zip(answer, marked, strict=True) if kind == ".") == "1203004"
    assert "".join(c for c, kind in zip(answer, marked, strict=True) if kind == "d") == "7 up"


@given(
    descs=st.lists(st.text(min_size=1).filter(str.strip), max_size=4),
    json_format=st.sampled_from(["standard", "compact"]),
    coord_tokens=st.booleans(),
)
def test_any_desc_is_found_where_it_stands(
    descs: list[str], json_format: JsonFormat, *, coord_tokens: bool
) -> None:
    box = Geometry(kind="bbox_2d", values=(1, 2, 30, 40), unit="bin")
    objects = [RecordObject(desc=desc, geometry=box) for desc in descs]
    answer = render_answer(
        objects,
        1,
        1,
        alphabet=SPEC_ALPHABET,
        json_format=json_format,
        coord_tokens=coord_tokens,
    )
    empty = render_answer(
        [replace(item, desc="") for item in objects],
        1,
        1,
        alphabet=SPEC_ALPHABET,
        json_format=json_format,
        coord_tokens=coord_tokens,
    )
    types = character_types(answer, descs, json_format)
    rest = "".join(c for c, kind in zip(answer, types, strict=True) if kind != DESC)
    assert rest == empty


def test_a_token_with_a_character_of_a_desc_is_desc() -> None:
    # {"object_1": {"desc":| "do|g"|, |2]|}}: what a tokenizer might merge
    characters = character_types('{"object_1": {"desc": "dog", "line": [12]}}', ["dog"], "standard")
    edges = [(0, 22), (21, 25), (25, 27), (27, 29), (38, 39), (39, 42)]
    assert token_types(edges, characters).tolist() == [
        STRUCT,
        DESC,
        DESC,
        STRUCT,
        NO_TYPE,
        NO_TYPE,
    ]


def test_no_token_is_no_type() -> None:
    assert token_types([], character_types("{}", [], "standard")).tolist() == []


def typed(encoder: Encoder, sample: Sample, *, on: bool = True) -> Example:
    asked = Encoder(encoder.tokenizer, encoder.inputs, encoder.style, with_token_types=on)
    record, picture = sample
    return asked.encode(record, picture, seed=0, epoch=0, index=0)


def test_every_target_of_a_record_has_its_type(
    make_encoder: EncoderMaker, samples: list[Sample]
) -> None:
    encoder = make_encoder()
    example = typed(encoder, samples[0])
    assert example.token_types is not None
    answer = example.labels != -100
    words = encoder.tokenizer.convert_ids_to_tokens(example.input_ids.tolist())
    is_coord = torch.tensor(["coord_" in word for word in words])
    assert (example.token_types[~answer] == NO_TYPE).all()
    assert (example.token_types[answer & is_coord] == NO_TYPE).all()
    assert (example.token_types[answer & ~is_coord] != NO_TYPE).all()
    named = example.input_ids[example.token_types == DESC]
    descs = "".join(item.desc for item in samples[0][0].objects)
    assert sorted(encoder.tokenizer.decode(named)) == sorted(descs)


def test_token_types_are_off_unless_asked_for(
    make_encoder: EncoderMaker, samples: list[Sample]
) -> None:
    example = typed(make_encoder(), samples[0], on=False)
    assert example.token_types is None
    collate = Collator(pad_id=0, image_token_id=1, side="right")
    assert TOKEN_TYPES not in collate([example])


def test_collators_hand_token_types_through(
    make_encoder: EncoderMaker, samples: list[Sample]
) -> None:
    encoder = make_encoder()
    longest, other = sorted((typed(encoder, sample) for sample in samples[:2]), key=len)[::-1]
    untyped = typed(encoder, samples[2], on=False)  # a chat has no types either
    padded = Collator(pad_id=0, image_token_id=1, side="right")([longest, other])
    assert padded[TOKEN_TYPES].shape == padded["labels"].shape
    assert padded[TOKEN_TYPES][1, len(other) :].eq(NO_TYPE).all()
    pack = PackCollator(inputs=encoder.inputs, image_token_id=1, blank=untyped)(
        [longest, other, untyped]
    )
    assert longest.token_types is not None
    assert other.token_types is not None
    expected = [*longest.token_types.tolist(), *other.token_types.tolist(), *[0] * len(untyped)]
    assert pack[TOKEN_TYPES].tolist() == [expected]
