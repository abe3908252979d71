import re

from hypothesis import given
from hypothesis import strategies as st

from coordexp.viewing.class_colours import class_colour, ink_on

GOLDEN = {"cat": "#4cfaeb", "dog": "#ac05c7", "tree": "#f910cf"}


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@given(st.text())
def test_every_name_has_a_colour_on_which_its_letters_can_be_read(name: str) -> None:
    colour = class_colour(name)
    assert re.fullmatch("#[0-9a-f]{6}", colour)
    light, dark = sorted((luminance(colour), luminance(ink_on(colour))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 2.5


def test_colours_stay_what_they_are() -> None:
    # Golden: a changed colour changes every page that is compared with an older one.
    assert {name: class_colour(name) for name in ("cat", "dog", "tree")} == GOLDEN


def test_eighty_classes_have_eighty_colours() -> None:
    assert len({class_colour(f"class {number}") for number in range(80)}) == 80
