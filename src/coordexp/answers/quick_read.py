"""A quick read of answers that are written to the letter.

Nearly every answer of a trained model is, and passing it sign by sign takes several times as long.
The look is sound and not complete: what it reads is what `coordexp.answers.parse` would (tested as
a property), and an answer that it does not recognise may be good as well.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import cast

from coordexp.coord_tokens.codec import CoordAlphabet, common_spelling, contains_coord_token
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, GeometryKind
from coordexp.rendering.dense_json import SEPARATORS

Span = tuple[int, int]
QuickObject = tuple[str, GeometryKind, tuple[int, ...], Span, Span, tuple[Span, ...]]
"""Desc, kind, bins, and the spans of the object, its desc and each coordinate."""

# No escapes, no control characters and no half of a surrogate pair: then the desc is what is there.
_DESC = r'[^"\\\x00-\x1f\ud800-\udfff]*'


def quick_objects(
    text: str, alphabet: CoordAlphabet, *, coord_tokens: bool
) -> list[QuickObject] | None:
    """Return the objects of an answer without its end marks, None where it needs a closer look.

    Whether the number of coordinates is right for the kind is not looked at.

    Args:
        text: The answer.
        alphabet: Number and spelling of the bins.
        coord_tokens: Whether coordinates are coord tokens or plain integers.
    """
    if text == "{}":
        return []
    for reader in _readers(alphabet, coord_tokens=coord_tokens):
        objects = reader.objects(text)
        if objects is not None:
            return objects
    return None


@cache
def _readers(alphabet: CoordAlphabet, *, coord_tokens: bool) -> "tuple[_QuickReader, ...]":
    return tuple(
        _QuickReader(alphabet, separators, coord_tokens=coord_tokens)
        for separators in SEPARATORS.values()
    )


class _QuickReader:
    """Reads answers in one JSON format; there is one for each alphabet, which it knows by heart."""

    def __init__(
        self, alphabet: CoordAlphabet, separators: tuple[str, str], *, coord_tokens: bool
    ) -> None:
        self._alphabet = alphabet
        self._common = common_spelling(alphabet)
        spell = alphabet.token if coord_tokens else str
        self._bins = {spell(k): k for k in range(alphabet.bins)}
        self._comma, colon = separators
        quote = '"' if coord_tokens else ""
        self._apart = quote + self._comma + quote
        self._pattern = re.compile(
            rf'"object_(\d+)"{colon}\{{"desc"{colon}"({_DESC})"{self._comma}'
            rf'"({"|".join(GEOMETRY_KINDS)})"{colon}\[{quote}([^\]]*){quote}\]\}}'
        )

    def objects(self, text: str) -> list[QuickObject] | None:
        """Return the objects of an answer in this format, None of any other."""
        objects: list[QuickObject] = []
        end = 0
        for found in self._matches(text):
            number, desc, kind, inside = found.groups()
            if number != str(len(objects) + 1) or not desc.strip() or self._holds_token(desc):
                return None
            values = inside.split(self._apart)
            try:
                bins = tuple([self._bins[value] for value in values])
            except KeyError:
                return None
            at, step, spans = found.start(4), len(self._apart), []
            for value in values:
                spans.append((at, at + len(value)))
                at += len(value) + step
            known = cast("GeometryKind", kind)  # the pattern knows no other
            objects.append((desc, known, bins, found.span(), found.span(2), tuple(spans)))
            end = found.end()
        return objects if objects and text[end:] == "}" else None

    def _matches(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the objects as far as they follow one another."""
        at = 1 if text.startswith("{") else len(text)
        while (found := self._pattern.match(text, at)) is not None:
            yield found
            if not text.startswith(self._comma, found.end()):
                return
            at = found.end() + len(self._comma)

    def _holds_token(self, desc: str) -> bool:
        return self._common in desc and contains_coord_token(desc, self._alphabet)
