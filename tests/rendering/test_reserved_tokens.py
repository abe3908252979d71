import pytest
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.chat import Chat, Message
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import Record, RecordObject
from coordexp.errors import RecordError
from coordexp.rendering.reserved_tokens import ReservedTokens

BOX = Geometry("bbox_2d", (0, 0, 1, 1), "bin")


@pytest.fixture(scope="module")
def reserved(tokenizer: PreTrainedTokenizerBase) -> ReservedTokens:
    return ReservedTokens(tokenizer, SPEC_ALPHABET)


def test_the_first_special_token_is_found(reserved: ReservedTokens) -> None:
    assert reserved.found_in("a <|image_pad|> b <|im_end|>") == "<|image_pad|>"


@pytest.mark.parametrize(
    "text", ["", "a cat", "<|coord_5|>", "<|coord_*|>", "<|im_end", "im_end|>"]
)
def test_coord_tokens_and_pieces_are_no_special_tokens(reserved: ReservedTokens, text: str) -> None:
    assert not reserved.found_in(text)


def test_the_object_is_named(reserved: ReservedTokens) -> None:
    objects = (RecordObject("cat", BOX), RecordObject("dog<|im_end|>", BOX))
    with pytest.raises(RecordError, match=r"token <\|im_end\|>") as caught:
        reserved.check(Record(("a.png",), 10, 10, objects))
    assert caught.value.obj == 1


def test_what_is_not_taught_may_be_called_anything(reserved: ReservedTokens) -> None:
    crowd = RecordObject("dogs<|im_end|>", BOX, marks=Marks(iscrowd=True))
    reserved.check(Record(("a.png",), 10, 10, (crowd,)))


def test_the_message_is_named(reserved: ReservedTokens) -> None:
    messages = (Message("user", "and?"), Message("assistant", "no<|endoftext|>"))
    with pytest.raises(RecordError, match=r"messages\[1\]: holds the special token <\|endoftext"):
        reserved.check(Chat(messages, ()))
