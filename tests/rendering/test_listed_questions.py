"""Questions that name classes: what they ask, what is answered, and how long they may become."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject
from coordexp.data.plan.class_lists import ClassLists
from coordexp.errors import InputError, RecordError
from coordexp.families.inputs import ModelInputs
from coordexp.rendering.encode import IGNORE_INDEX, Encoder, Example
from tests.model.qwen import load_real_tokenizer
from tests.rendering.plain import PLAIN_STYLE

ANIMALS = ("ant", "bee", "cat", "dog")
LISTED = replace(
    PLAIN_STYLE, class_prompt="Find: {classes}.", user_prompt="Find: ant, bee, cat, dog."
)
SCENE = Record(
    ("a.png",), 64, 64, (RecordObject("cat", Geometry("bbox_2d", (1, 2, 30, 40), "px")),)
)
PICTURE = Image.new("RGB", (64, 64))


def listed(
    tokenizer: PreTrainedTokenizerBase, processor: ModelInputs, lists: ClassLists
) -> Encoder:
    return Encoder(tokenizer, processor, LISTED, class_lists=lists)


@pytest.fixture(scope="module")
def encoder(tokenizer: PreTrainedTokenizerBase, processor: ModelInputs) -> Encoder:
    return listed(tokenizer, processor, ClassLists(ANIMALS, most=3, empty_share=0.3))


def texts(encoder: Encoder, example: Example) -> tuple[str, str]:
    labels = example.labels.tolist()
    begins = next(place for place, label in enumerate(labels) if label != IGNORE_INDEX)
    ids = example.input_ids.tolist()
    prompt, answer = encoder.tokenizer.decode(ids[:begins]), encoder.tokenizer.decode(ids[begins:])
    return str(prompt), str(answer)


def test_every_epoch_asks_anew_and_absent_classes_alone_are_answered_with_nothing(
    encoder: Encoder,
) -> None:
    prompts, empty = set(), 0
    for epoch in range(30):
        example = encoder.encode(SCENE, PICTURE, seed=0, epoch=epoch, index=0)
        prompt, answer = texts(encoder, example)
        question = prompt.partition("Find: ")[2].partition(".")[0]
        prompts.add(question)
        assert ("cat" in question.split(", ")) == ('"desc": "cat"' in answer)
        empty += answer.startswith("{}")
    assert len(prompts) > 10
    assert 0 < empty < 30


def test_a_prompt_of_its_own_stays(encoder: Encoder) -> None:
    own = replace(SCENE, prompt="Where is the cat?")
    assert encoder.posed(own, seed=0, epoch=0, index=0) == own
    example = encoder.encode(own, PICTURE, seed=0, epoch=0, index=0)
    assert len(example) == encoder.length(own)
    assert "Where is the cat?" in texts(encoder, example)[0]


def test_whoever_asks_a_model_asks_for_all(encoder: Encoder) -> None:
    ids = encoder.encode_prompt(SCENE, PICTURE).input_ids
    assert "Find: ant, bee, cat, dog." in str(encoder.tokenizer.decode(ids.tolist()))


def test_a_special_token_in_a_class_is_named(
    tokenizer: PreTrainedTokenizerBase, processor: ModelInputs
) -> None:
    with pytest.raises(InputError, match=r"custom\.class_list: .*holds <\|im_end\|>"):
        listed(tokenizer, processor, ClassLists(("a <|im_end|>",), most=3, empty_share=0))
    own = replace(SCENE, federated=Federated(("<|im_end|>",), (), {}))
    encoder = listed(tokenizer, processor, ClassLists(ANIMALS, most=3, empty_share=0.99))
    with pytest.raises(RecordError, match=r"holds the special token <\|im_end\|>"):
        encoder.encode(own, PICTURE, seed=0, epoch=0, index=0)


names = st.one_of(
    st.text(min_size=1, max_size=9).filter(lambda text: bool(text.strip())),
    st.sampled_from(
        [
            "cat",
            "Hydrant",
            "traffic light",
            "s",
            "(toy)",
            "no. 5",
            "a,b",
            '"',
            " x",
            "x ",
            "é",
            "汉字",
        ]
    ),
)


@pytest.fixture(scope="module")
def real_tokenizer() -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = load_real_tokenizer()
    tokenizer.add_tokens([SPEC_ALPHABET.wildcard, *SPEC_ALPHABET.tokens()], special_tokens=True)
    return tokenizer


@pytest.mark.slow
@given(
    vocabulary=st.lists(names, max_size=8, unique=True).map(tuple),
    there=st.lists(names, max_size=3),
    federated=st.none() | st.lists(names, max_size=4).map(tuple),
    most=st.integers(0, 5),
    question=st.sampled_from(
        ["Find {classes}.", "{classes}", "({classes})?", "a{classes}b", "{classes}: {classes}\n"]
    ),
)
def test_no_question_is_longer_than_planned(
    real_tokenizer: PreTrainedTokenizerBase,
    processor: ModelInputs,
    vocabulary: tuple[str, ...],
    there: list[str],
    federated: tuple[str, ...] | None,
    most: int,
    question: str,
) -> None:
    lists = ClassLists(vocabulary, most, empty_share=0.3)
    style = replace(PLAIN_STYLE, class_prompt=question)
    encoder = Encoder(real_tokenizer, processor, style, class_lists=lists)
    box = SCENE.objects[0].geometry
    searched = None if federated is None else Federated(federated, (), {})
    objects = tuple(RecordObject(name, box) for name in there)
    record = replace(SCENE, objects=objects, federated=searched)
    try:
        planned = encoder.length(record)
    except RecordError as error:
        assert "no class to ask for" in error.message  # noqa: PT017
        return
    for epoch in range(8):
        example = encoder.encode(record, PICTURE, seed=0, epoch=epoch, index=0)
        assert len(example) <= planned
