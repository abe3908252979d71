"""What `data prepare` notes beside records in another alphabet, and who compares."""

from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.files.written_alphabet import (
    alphabet_path,
    check_alphabet,
    load_alphabet,
    save_alphabet,
)
from coordexp.errors import InputError

LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)


def test_another_alphabet_is_noted_and_the_specifications_takes_the_note_away(
    tmp_path: Path,
) -> None:
    records = tmp_path / "a.jsonl"
    save_alphabet(records, LOC)
    assert load_alphabet(records) == LOC
    save_alphabet(records, SPEC_ALPHABET)
    assert list(tmp_path.iterdir()) == []
    assert load_alphabet(records) is None


def test_two_ways_to_write_one_spelling_are_the_same(tmp_path: Path) -> None:
    records = tmp_path / "a.jsonl"
    save_alphabet(records, LOC)
    check_alphabet(records, CoordAlphabet(pattern="<loc{0:0>4}>", bins=1024, wildcard="<loc*>"))


def test_the_message_names_both_and_the_way_out(tmp_path: Path) -> None:
    records = tmp_path / "a.jsonl"
    save_alphabet(records, LOC)
    with pytest.raises(InputError) as found:
        check_alphabet(records, CoordAlphabet(pattern="<loc{:04d}>", bins=1000, wildcard=None))
    for words in ("a.jsonl: ", "<loc0000> .. <loc1023>", "<loc0000> .. <loc0999>", "--bins"):
        assert words in str(found.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pattern": "<loc>", "bins": 3}', '{"bins": "many"}', '{"bins": 1}']
)
def test_a_note_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    records = tmp_path / "a.jsonl"
    alphabet_path(records).write_text(text)
    with pytest.raises(InputError, match=r"a\.alphabet\.json"):
        load_alphabet(records)


def test_records_without_a_note_are_taken_at_their_spelling(tmp_path: Path) -> None:
    check_alphabet(tmp_path / "a.jsonl", LOC)
