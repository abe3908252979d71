from collections.abc import Callable, Mapping, Sequence

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject
from coordexp.rendering.dense_json import render_answer
from coordexp.rewards.reward import TERMS, rewards
from tests.rendering.plain import PLAIN_STYLE

Thing = tuple[str, Sequence[int]]
Worth = Callable[[str | Sequence[Thing], Sequence[Thing]], Mapping[str, float]]


def things(objects: Sequence[Thing]) -> tuple[RecordObject, ...]:
    """Return objects given in bins; six values or more are a polygon's."""
    return tuple(
        RecordObject(desc, Geometry("bbox_2d" if len(bins) == 4 else "poly", tuple(bins), "bin"))
        for desc, bins in objects
    )


def said(objects: Sequence[Thing]) -> str:
    return render_answer(
        things(objects), 1, 1, alphabet=SPEC_ALPHABET, json_format="standard", coord_tokens=True
    )


def record(objects: Sequence[Thing]) -> Record:
    return Record(("a.png",), 640, 480, things(objects))


@pytest.fixture
def worth() -> Worth:
    """Return what an answer is worth, by term."""

    def of(answer: str | Sequence[Thing], truth: Sequence[Thing]) -> Mapping[str, float]:
        text = answer if isinstance(answer, str) else said(answer)
        found = rewards(
            [text],
            [record(truth)],
            style=PLAIN_STYLE,
            end_marks=("<|im_end|>",),
            longest=30,
            weights=dict.fromkeys(TERMS, 1.0),
        )
        return {name: float(values[0]) for name, values in found.terms.items()}

    return of
