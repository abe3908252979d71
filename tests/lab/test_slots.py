from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.record import parse_record
from coordexp.lab.slots import find_slots, quoted_answer
from coordexp.model.load import load_tokenizer
from coordexp.rendering.style import RenderingStyle

RECORD = {
    "images": ["a.png"],
    "width": 999,
    "height": 999,
    "objects": [
        {"desc": "bus 12", "bbox_2d": [5, 70, 312, 999]},
        {"desc": "seven", "bbox_2d": [0, 0, 7, 40]},
    ],
}


def style(alphabet: CoordAlphabet = SPEC_ALPHABET) -> RenderingStyle:
    return RenderingStyle(
        system_prompt=None,
        user_prompt="?",
        json_format="standard",
        object_ordering="sorted",
        coord_tokens=False,
        alphabet=alphabet,
        min_pixels=None,
        max_pixels=None,
    )


def test_numbers_are_quoted_as_coord_tokens_will_be() -> None:
    text, numbers = quoted_answer(parse_record(RECORD, SPEC_ALPHABET), style())
    assert text == (
        '{"object_1": {"desc": "seven", "bbox_2d": ["0", "0", "7", "40"]}, '
        '"object_2": {"desc": "bus 12", "bbox_2d": ["5", "70", "312", "999"]}}'
    )
    assert [text[start:stop] for start, stop, _ in numbers] == [
        str(value) for _, _, value in numbers
    ]
    assert [value for _, _, value in numbers] == [0, 0, 7, 40, 5, 70, 312, 999]


@pytest.mark.parametrize("pattern", ["<loc{:04d}>", "<|coord_{}|>"])
def test_any_spelling_of_a_bin_is_undone(pattern: str) -> None:
    alphabet = CoordAlphabet(pattern=pattern, bins=1000, wildcard=None)
    text, _ = quoted_answer(parse_record(RECORD, SPEC_ALPHABET), style(alphabet))
    assert text == quoted_answer(parse_record(RECORD, SPEC_ALPHABET), style())[0]


def test_a_slot_is_the_token_with_which_a_number_begins(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    text, numbers = quoted_answer(parse_record(RECORD, SPEC_ALPHABET), style())
    slots = find_slots(tokenizer, text, numbers)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [value for _, value in slots.numbers] == [value for *_, value in numbers]
    for place, value in slots.numbers:
        assert tokenizer.decode([ids[place]]) == str(value)[0]


def test_digits_of_a_number_are_no_other_places_and_digits_of_a_name_are(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    text, numbers = quoted_answer(parse_record(RECORD, SPEC_ALPHABET), style())
    slots = find_slots(tokenizer, text, numbers)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rest = "".join(tokenizer.decode([ids[place]]) for place in slots.others)
    digits = sum(stop - start for start, stop, _ in numbers)
    assert len(slots.others) == len(ids) - digits
    assert "bus 12" in rest
