"""A quick look that knows good objects at sight.

Nearly every object is good, and all its faults take several times as long to look for as it takes
to see that. The look is sound and not complete: in what it passes there is no fault, and what it
makes of it is what `build_object` makes (both tested as properties); what it does not recognise may
be good as well, which `object_faults` decides.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.geometry import Geometry, plain_box, plain_pixels
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.data.contract.marks import MARK_KEYS, mark_faults, parse_marks
from coordexp.data.contract.objects import EXACT_SUFFIX, RecordObject, desc_faults

_EXACT_KEYS: Mapping[GeometryKind, str] = {kind: kind + EXACT_SUFFIX for kind in GEOMETRY_KINDS}
_BARE_KEYS = 2  # a desc and a geometry
_KNOWN_DESCS = 2**14
# A token and its exact pixels agree to a bin. At this distance they do whatever way the pixels
# round; between it and 1.5 bins the way decides, which is left to the full check.
_SURELY_AGREES = 1.49


@cache
def quick_look(alphabet: CoordAlphabet) -> "QuickLook":
    """Return the look for an alphabet; it remembers descs, so there is one of each."""
    return QuickLook(alphabet)


class QuickLook:
    """Knows good objects at sight.

    Args:
        alphabet: Of the coord tokens.
    """

    def __init__(self, alphabet: CoordAlphabet) -> None:
        self._last = alphabet.bins - 1
        bins: dict[object, int] = {token: k for k, token in enumerate(alphabet.tokens())}
        self._bin_of = bins.__getitem__
        self._is_good_desc = _desc_memory(alphabet)

    def good_object(self, row: object, width: int, height: int) -> RecordObject | None:
        """Return a good object, or None for one that needs the full check.

        Args:
            row: As decoded.
            width: Of the image.
            height: The same.
        """
        if type(row) is not dict:
            return None
        desc = row.get("desc")
        if type(desc) is not str or not self._is_good_desc(desc):
            return None
        if len(row) == _BARE_KEYS:
            box = plain_box(row.get("bbox_2d"), width, height)
            if box is not None:
                return RecordObject(desc, box)
        return self._other(desc, row, width, height)

    def _other(
        self, desc: str, row: Mapping[str, object], width: int, height: int
    ) -> RecordObject | None:
        """Return a good object that is more than a desc and a box in pixels."""
        kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
        if len(kinds) != 1:
            return None
        kind, values = kinds[0], row[kinds[0]]
        if type(values) is list and values and type(values[0]) is str:
            geometry = self._bins(kind, values)
        else:
            geometry = plain_pixels(kind, values, width, height)
        if geometry is None or len(row) == _BARE_KEYS:
            return None if geometry is None else RecordObject(desc, geometry)
        return self._with_more(desc, geometry, row, width, height)

    def _bins(self, kind: GeometryKind, tokens: list[object]) -> Geometry | None:
        try:
            bins = tuple(map(self._bin_of, tokens))
        except (KeyError, TypeError):  # the latter of what cannot be a key, such as a list
            return None
        rules = KINDS[kind]
        good = rules.is_whole(len(bins)) and (
            rules.form != "corners" or (bins[0] <= bins[2] and bins[1] <= bins[3])
        )
        return Geometry(kind, bins, "bin") if good else None

    def _with_more(
        self, desc: str, geometry: Geometry, row: Mapping[str, object], width: int, height: int
    ) -> RecordObject | None:
        """Return an object with its exact pixels and marks, where it has them and they are good."""
        exact, key = None, _EXACT_KEYS[geometry.kind]
        if key in row:
            exact = plain_pixels(geometry.kind, row[key], width, height)
            if exact is None or not self._surely_agree(geometry, exact, width, height):
                return None
        if MARK_KEYS.isdisjoint(row):
            return RecordObject(desc, geometry, exact)
        if any(mark_faults(row)):
            return None
        return RecordObject(desc, geometry, exact, parse_marks(row))

    def _surely_agree(self, geometry: Geometry, exact: Geometry, width: int, height: int) -> bool:
        """Return whether bins and pixels agree, whatever way the pixels round."""
        bins, pixels, most = geometry.values, exact.values, _SURELY_AGREES
        if geometry.unit != "bin" or len(bins) != len(pixels):
            return False
        across, down = self._last / width, self._last / height
        pairs = zip(pixels[0::2], pixels[1::2], bins[0::2], bins[1::2], strict=True)
        for x, y, x_bin, y_bin in pairs:
            if not (-most < x * across - x_bin < most and -most < y * down - y_bin < most):
                return False
        return True


def _desc_memory(alphabet: CoordAlphabet) -> Callable[[str], bool]:
    """Return whether a desc is good, remembered: most datasets have few, again and again."""

    @lru_cache(_KNOWN_DESCS)
    def is_good_desc(desc: str) -> bool:
        return not any(desc_faults(desc, alphabet))

    return is_good_desc
