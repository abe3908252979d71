"""From descs to category ids.

The classes are the descs of the truth, no more: average precision means nothing for a class that is
never there. Ids count from 1, because COCO's tools read id 0 as "nothing".
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CategoryMatching = Literal["exact", "normalized"]
UnknownDescs = Literal["bucket", "drop"]


@dataclass(frozen=True, slots=True)
class Categories:
    """The classes of one evaluation.

    Args:
        names: In id order; the first is id 1. Spelled as the truth spells them first.
        ids: From the matching form of a desc to its id.
        matching: Whether two descs must be equal, or equal but for case, width and spaces.
        unknown: What becomes of a predicted desc that is no class: `bucket` keeps it as a false
            positive of a category of its own, `drop` leaves it out. Both are counted.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]
    matching: CategoryMatching
    unknown: UnknownDescs

    @property
    def bucket_id(self) -> int:
        """The id of everything that is no class."""
        return len(self.names) + 1

    def id_of(self, desc: str) -> int | None:
        """Return the id of a desc, or None where it is no class."""
        return self.ids.get(matching_form(desc, self.matching))


def build_categories(
    descs: Iterable[str], *, matching: CategoryMatching, unknown: UnknownDescs
) -> Categories:
    """Return the classes that the true descs name, in alphabetical order.

    Example:
        >>> descs = ["dog", "Cat", "cat "]
        >>> found = build_categories(descs, matching="normalized", unknown="bucket")
        >>> found.names, found.id_of("CAT"), found.id_of("cow")
        (('Cat', 'dog'), 1, None)
    """
    spelling: dict[str, str] = {}
    for desc in descs:
        spelling.setdefault(matching_form(desc, matching), desc)
    forms = sorted(spelling)
    return Categories(
        names=tuple(spelling[form] for form in forms),
        ids={form: number for number, form in enumerate(forms, start=1)},
        matching=matching,
        unknown=unknown,
    )


def matching_form(desc: str, matching: CategoryMatching) -> str:
    """Return the text that two descs of one class share.

    Example:
        >>> matching_form("  Traffic   LIGHT", "normalized")
        'traffic light'
    """
    if matching == "exact":
        return desc
    return " ".join(unicodedata.normalize("NFKC", desc).casefold().split())
