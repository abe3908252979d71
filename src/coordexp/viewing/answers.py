"""Answers of a model beside what is true, to browse: pictures, mistakes, probable and odd tokens.

Boxes are drawn by the browser over the picture, not into it, so that they stay sharp at any size
and can be pointed at. Five hundred pictures open at once: each is small, and is decoded when it
comes into sight.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.record import Geometry
from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.draw import is_crowd
from coordexp.viewing.elements import FilterChoice, data_uri, filter_choices

LONGEST_SIDE, QUALITY = 480, 75
NO_MISTAKE = "(no mistake)"
_TONES = (0.25, 0.5, 0.8, 0.95)
_REACH = 1 / 3  # of a point's diamond, in letters


@dataclass(frozen=True, slots=True)
class Mark:
    """One object of a picture.

    Args:
        desc: What it is, or is said to be.
        group: The class that it counts for; the filter offers it.
        geometry: In pixels of the original picture.
        true: Whether it is there, or is said to be.
        score: Of a predicted one.
        mistake: What is wrong with it, in a word or two; empty where nothing is.
        also: Another class under which the filter finds the mistake.
    """

    desc: str
    group: str
    geometry: Geometry
    true: bool
    score: float | None = None
    mistake: str = ""
    also: str | None = None

    @property
    def style(self) -> str:
        """The words by which the page's style knows it."""
        if self.true:
            return "true missed" if self.mistake else "true"
        return "predicted wrong" if self.mistake else "predicted"

    @property
    def colour(self) -> str:
        """That of its desc."""
        return class_colour(self.desc)

    @property
    def shape(self) -> str:
        """The name of the element that draws its outline."""
        return "polyline" if self.geometry.rules.form == "path" else "polygon"

    def points(self, letter_size: float) -> str:
        """Return its outline; that of a point is a diamond around it."""
        values, form = self.geometry.values, self.geometry.rules.form
        if form == "corners":
            x1, y1, x2, y2 = values
            values = (x1, y1, x2, y1, x2, y2, x1, y2)
        elif form == "place":
            (x, y), reach = values, letter_size * _REACH
            values = (x - reach, y, x, y - reach, x + reach, y, x, y + reach)
        return " ".join(f"{value:.4g}" for value in values)

    def label_place(self, letter_size: float) -> tuple[float, float]:
        """Return where its label begins: above it, but inside the picture."""
        x1, y1, _, _ = bounding_box(self.geometry.values)
        return x1, max(letter_size, y1 - letter_size / 4)


class Word(NamedTuple):
    """A piece of an answer.

    Args:
        piece: Its text.
        tone: From 0 for odd to 4 for nearly certain; None where no colour says anything.
        probability: In words, beside a tone.
    """

    piece: str
    tone: int | None
    probability: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One picture with its objects and the model's words.

    Args:
        title: Above it.
        remark: Below the title.
        picture: As a data URI, of `thumbnail_uri`; None where it cannot be opened.
        size: Width and height of the original.
        marks: What is there and what is said.
        tokens: The pieces of the answer with their probabilities; with None where not known.
    """

    title: str
    remark: str
    picture: str | None
    size: tuple[int, int]
    marks: Sequence[Mark]
    tokens: Sequence[tuple[str, float | None]]

    @property
    def classes(self) -> str:
        """The classes under which the filter finds it, as JSON."""
        return _json(sorted({mark.group for mark in self.marks}))

    @property
    def mistakes(self) -> str:
        """The mistakes under which the filter finds it, each with a class, as JSON."""
        return _json(
            sorted(
                {
                    (mark.mistake, name)
                    for mark in self.marks
                    for name in (mark.group, mark.also)
                    if mark.mistake and name is not None
                }
            )
        )

    @property
    def is_crowded(self) -> bool:
        """Whether there are too many predicted objects for labels."""
        return is_crowd(sum(not mark.true for mark in self.marks))

    @property
    def letter_size(self) -> float:
        """The height of labels, in pixels of the original."""
        return max(self.size) / 32

    @property
    def drawn(self) -> list[tuple[int, Mark]]:
        """The marks with their numbers; true ones are drawn last, since they are thinner."""
        return sorted(enumerate(self.marks), key=lambda pair: pair[1].true)

    @property
    def has_probabilities(self) -> bool:
        """Whether any token's is known."""
        return any(probability is not None for _, probability in self.tokens)

    @property
    def words(self) -> list[Word]:
        """The pieces of the answer, with a tone where they are less than certain."""
        return [
            Word(piece, None, "")
            if probability is None or probability == 1.0
            else Word(piece, _tone(probability), f"{probability:.2g}")
            for piece, probability in self.tokens
        ]


@dataclass(frozen=True, slots=True)
class AnswerBrowser:
    """Answers and the filters above them.

    Args:
        answers: In order.
        classes: Choices of one filter.
        mistakes: Choices of the other; none where mistakes are not known.
    """

    answers: Sequence[ShownAnswer]
    classes: Sequence[FilterChoice]
    mistakes: Sequence[FilterChoice]


def answer_browser(answers: Sequence[ShownAnswer], *, judged: bool = True) -> AnswerBrowser:
    """Return answers below filters by class and, where they are judged, by mistake."""
    classes = Counter(name for item in answers for name in {mark.group for mark in item.marks})
    kinds = Counter(
        kind
        for item in answers
        for kind in ({mark.mistake for mark in item.marks if mark.mistake} or {NO_MISTAKE})
    )
    return AnswerBrowser(
        answers,
        filter_choices(f"every class ({len(answers):,})", classes),
        filter_choices(f"any ({len(answers):,})", kinds) if judged else (),
    )


def thumbnail_uri(picture: Image.Image) -> str:
    """Return a small copy of a picture as a data URI, so that hundreds need no memory at once."""
    small = picture.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return data_uri("image/jpeg", buffer.getvalue())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _tone(probability: float) -> int:
    return sum(probability >= bound for bound in _TONES)
