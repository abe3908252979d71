"""What the doctor's page makes of what was found."""

from html import unescape
from pathlib import Path

import pytest

from coordexp.inspection.doctor.page import doctor_page
from coordexp.inspection.doctor.tokens import KINDS, Looks, Token
from coordexp.inspection.doctor.verdict import CheckResult, Diagnosis, Pieces
from coordexp.viewing.elements import Sheet
from coordexp.viewing.page import Page
from tests.viewing.chromium import overflowing
from tests.viewing.hostile import EVIL, LONG, check_words_stay_words


def found(**findings: CheckResult) -> Diagnosis:
    return Diagnosis(findings, Pieces())


def test_what_could_not_be_made_leaves_its_place_to_a_sentence() -> None:
    page = doctor_page(found(vocabulary=CheckResult("red", "no tokens")), name="a.yaml").render()
    assert page.count("Not to be had; the verdicts say why.") == 2
    assert "<h2>Token by token</h2>" in page


def test_tokens_have_the_colour_of_their_kind_and_break_where_the_text_does() -> None:
    diagnosis = found()
    transcript = [
        Token("picture", "<|image_pad|>", 64),
        Token("prompt", "find\n", 1),
        Token("coord", "<|coord_7|>", 1),
    ]
    diagnosis.pieces.put(Looks([], "a.jsonl:3", transcript))
    page = doctor_page(diagnosis, name="a.yaml").render()
    assert "<h2>a.jsonl:3, token by token</h2>" in page
    assert (
        '<span class="picture">&lt;|image_pad|&gt;</span><small> x 64</small>'
        '<span class="prompt">find\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}</span>\n'
        '<span class="coord">&lt;|coord_7|&gt;</span></code>'
    ) in page
    assert all(f"</span> {style.told}" in unescape(page) for style in KINDS.values())


def page_of(words: str) -> Page:
    """Return the page of a run in which everything is called the same."""
    diagnosis = found(
        **{words: CheckResult("red", words, words, [Sheet(words, [words], [[words]])])},
    )
    diagnosis.pieces.put(Looks([], words, [Token(kind, words, 2) for kind in KINDS]))
    return doctor_page(diagnosis, name=words)


def test_words_of_data_and_configuration_stay_words() -> None:
    page = page_of(EVIL).render()
    check_words_stay_words(page, f"What to do: {EVIL}", f"found in {EVIL}.")
    check_words_stay_words(page, f"{EVIL}, token by token", times=2)
    check_words_stay_words(page, EVIL, times=14)


@pytest.mark.browser
@pytest.mark.slow
def test_long_words_are_broken_on_a_phone(tmp_path: Path) -> None:
    page_of(LONG).write(tmp_path / "page.html")
    assert overflowing(tmp_path / "page.html", tmp_path) == []
