"""Pictures with what is known about them beside each, to browse and to filter by class."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.elements import (
    FilterChoice,
    InlinePicture,
    Sheet,
    filter_choices,
    inline_picture,
)

_PICTURE_QUALITY = 78
_MOST_KEYS = 24
NO_OBJECTS = "(no objects)"


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and what stands beside it.

    Args:
        title: Above it.
        picture: As it shall appear; None where there is none.
        remark: Below the picture, or in its place.
        answer: A text as the model has to write it.
        sheet: Below the answer; without rows there is none.
        classes: What is in the picture; the filter offers it.
    """

    title: str
    picture: InlinePicture | None
    remark: str
    answer: str
    sheet: Sheet
    classes: Sequence[str]

    @property
    def filtered_by(self) -> str:
        """The choices of the filter that leave the sample, as JSON."""
        return json.dumps(sorted(set(self.classes)) or [NO_OBJECTS], ensure_ascii=False)

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """Name, colour and number of each class, the most frequent ones first."""
        ranked = sorted(Counter(self.classes).items(), key=lambda pair: (-pair[1], pair[0]))
        return [(name, class_colour(name), f"{count:,}") for name, count in ranked[:_MOST_KEYS]]

    @property
    def unkeyed(self) -> int:
        """How many classes are not among the keys."""
        return max(0, len(set(self.classes)) - _MOST_KEYS)


@dataclass(frozen=True, slots=True)
class SampleBrowser:
    """Samples and the filter above them.

    Args:
        samples: In order.
        choices: Of the filter.
    """

    samples: Sequence[Sample]
    choices: Sequence[FilterChoice]


def sample_picture(picture: Image.Image) -> InlinePicture:
    """Return a picture as a sample holds it, so that thousands need no memory at once."""
    return inline_picture(picture, quality=_PICTURE_QUALITY)


def sample_browser(samples: Sequence[Sample]) -> SampleBrowser:
    """Return samples below a filter by class."""
    counts = Counter(name for item in samples for name in (set(item.classes) or {NO_OBJECTS}))
    return SampleBrowser(samples, filter_choices(f"every class ({len(samples):,})", counts))
