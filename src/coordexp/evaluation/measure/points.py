"""Which predicted points are right: near a true one, or inside of what is true.

*Distance*: points of one class in one image are paired one to one, the nearest pair first, and a
pair counts within 1, 2 or 5 % of the picture's diagonal. A wider share only adds pairs, so recall
never falls with it. *Inside*: where the truth has boxes or outlines, a point hits one by lying in
it; each is hit by one point at most, and points are given to regions so that the most are hit.

A predicted point is judged by distance where its class has true points somewhere in the file, and
by what it hits where its class has true regions; where its desc is no class, by both. Regions of a
class that is answered with boxes or outlines, and never with a point, are not looked for here. What
lies within the share of a true point that is passed over, or in such a region, is not judged.

Not covered: true points that are answered with boxes; they count as missed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from coordexp.data.contract.geometry import Geometry
from coordexp.evaluation.measure.instances import Bools, Floats, Instances, Ints, Objects

SHARES = (0.01, 0.02, 0.05)
"""Of the diagonal."""
SHOWN_SHARE = SHARES[1]
"""The one by which a point is called right where there is room for one alone."""
_INSIDE = 0.0  # a hit counts at every share


@dataclass(frozen=True, slots=True)
class JudgedPoints:
    """What became of predicted points in one of the two comparisons.

    Args:
        right_from: Of each, the share of the diagonal from which on it is right; or infinity.
        passed_from: The share from which on it is passed over, unless it is right.
        judged: Which of them are judged at all.
        found_from: Of each true object, the share from which on it is found.
        sought: Which true objects are looked for.
    """

    right_from: Floats
    passed_from: Floats
    judged: Bools
    found_from: Floats
    sought: Bools

    def right(self, share: float) -> Bools:
        """Return which predictions are right."""
        return self.judged & (self.right_from <= share)

    def counted(self, share: float) -> Bools:
        """Return which predictions are right or wrong."""
        return self.judged & ((self.right_from <= share) | (self.passed_from > share))


@dataclass(frozen=True, slots=True)
class PointMatches:
    """What became of the points of a file.

    Args:
        instances: What they are of.
        distance: Predicted points beside true ones.
        inside: Predicted points beside true regions.
    """

    instances: Instances
    distance: JudgedPoints
    inside: JudgedPoints

    def __bool__(self) -> bool:
        """Return whether there is any point, true or predicted."""
        return bool(len(self.instances.true_points) or len(self.instances.predicted_points))

    @property
    def right(self) -> Bools:
        """Which predicted points are right, by `SHOWN_SHARE` or by what they hit."""
        return self.distance.right(SHOWN_SHARE) | self.inside.right(_INSIDE)

    @property
    def counted(self) -> Bools:
        """Which predicted points are right or wrong."""
        return self.right | self.distance.counted(SHOWN_SHARE) | self.inside.counted(_INSIDE)

    @property
    def found(self) -> Bools:
        """Which true points are found."""
        return self.distance.found_from <= SHOWN_SHARE

    @property
    def hit(self) -> Bools:
        """Which true boxes and outlines are hit."""
        return self.inside.found_from <= _INSIDE


@dataclass(frozen=True, slots=True)
class ImagePoints:
    """Points counted by image.

    Args:
        true: True points that are looked for.
        predicted: Predicted points that are right or wrong.
        right: Those of them that are right.
    """

    true: Ints
    predicted: Ints
    right: Ints


def tally_points(matches: PointMatches) -> ImagePoints:
    """Return the counts of points in each image."""
    true, said = matches.instances.true_points, matches.instances.predicted_points
    images = len(matches.instances.sizes)
    return ImagePoints(
        true=np.bincount(true.image[matches.distance.sought], minlength=images),
        predicted=np.bincount(said.image[matches.counted], minlength=images),
        right=np.bincount(said.image[matches.right], minlength=images),
    )


def match_points(instances: Instances) -> PointMatches:
    """Return what became of the points of a file."""
    return PointMatches(instances, _by_distance(instances), _by_region(instances))


def _by_distance(instances: Instances) -> JudgedPoints:
    true, said = instances.true_points, instances.predicted_points
    matches = _nothing(instances, said, true, sought=true.counted)
    for theirs, own, image in _cells(true, said):
        width, height = instances.sizes[image]
        apart = true.boxes[theirs, None, :2] - said.boxes[None, own, :2]
        shares = np.hypot(apart[..., 0], apart[..., 1]) / np.hypot(width, height)
        counted = true.counted[theirs]
        for row, column, share in _nearest_first(shares[counted]):
            matches.right_from[own[column]] = matches.found_from[theirs[counted][row]] = share
        matches.passed_from[own] = shares[~counted].min(axis=0, initial=np.inf)
    return _with_unmarked(matches, said)


def _by_region(instances: Instances) -> JudgedPoints:
    truth, said = instances.truth, instances.predicted_points
    regions = np.array([one.rules.has_area for one in truth.geometries], dtype=np.bool_)
    boxed = set(instances.predicted.category.tolist()) - set(said.category.tolist())
    regions &= ~np.isin(truth.category, sorted(boxed))
    matches = _nothing(instances, said, truth, sought=truth.counted & regions)
    for theirs, own, _ in _cells(truth, said):
        hits = np.array([_holds(truth.geometries[k], said.boxes[own, :2]) for k in theirs.tolist()])
        sought = matches.sought[theirs]
        for row, column in most_pairs(hits[sought]):
            matches.right_from[own[column]] = matches.found_from[theirs[sought][row]] = _INSIDE
        passed = hits[~truth.counted[theirs]].any(axis=0)
        matches.passed_from[own] = np.where(passed, _INSIDE, np.inf)
    return _with_unmarked(matches, said)


def _nothing(instances: Instances, said: Objects, true: Objects, *, sought: Bools) -> JudgedPoints:
    """Return what is judged and sought, with nothing found yet."""
    classes = true.category[sought].tolist()
    known = [*classes, instances.categories.bucket_id] if classes else []
    never = np.full(len(said), np.inf)
    return JudgedPoints(
        right_from=never,
        passed_from=never.copy(),
        judged=np.isin(said.category, known) & said.searched,
        found_from=np.full(len(true), np.inf),
        sought=sought,
    )


def _with_unmarked(matches: JudgedPoints, said: Objects) -> JudgedPoints:
    """Return the same, where what is not right in a class that is not fully marked is excused."""
    return replace(matches, passed_from=np.where(said.exhaustive, matches.passed_from, 0.0))


def _cells(true: Objects, said: Objects) -> Iterator[tuple[Ints, Ints, int]]:
    """Yield, for each class in an image that both have, the places of both, and the image."""
    theirs, own = _places(true), _places(said)
    for cell in theirs.keys() & own.keys():
        yield theirs[cell], own[cell], cell[0]


def _places(items: Objects) -> Mapping[tuple[int, int], Ints]:
    found: dict[tuple[int, int], list[int]] = {}
    pairs = zip(items.image.tolist(), items.category.tolist(), strict=True)
    for place, cell in enumerate(pairs):
        found.setdefault(cell, []).append(place)
    return {cell: np.array(places, dtype=np.int64) for cell, places in found.items()}


def _nearest_first(shares: Floats) -> Iterator[tuple[int, int, float]]:
    """Yield true points, rows, with the predicted one, a column, and how far they are apart.

    Of equally near pairs the one that stands first is taken.
    """
    rows, columns = np.zeros(shares.shape[0], np.bool_), np.zeros(shares.shape[1], np.bool_)
    near = np.flatnonzero(shares.ravel() <= SHARES[-1])
    for pair in near[np.argsort(shares.ravel()[near], kind="stable")].tolist():
        row, column = divmod(pair, shares.shape[1])
        if not rows[row] and not columns[column]:
            rows[row] = columns[column] = True
            yield row, column, float(shares[row, column])


def most_pairs(hits: Bools) -> list[tuple[int, int]]:
    """Return rows with columns that are theirs alone, as many as can be.

    Each column looks for a free row, along the shortest chain of others that could move to another
    one (Kuhn's augmenting paths).

    Example:
        >>> most_pairs(np.array([[True, True], [True, False]]))
        [(1, 0), (0, 1)]
    """
    row_of, column_of = [-1] * hits.shape[1], [-1] * hits.shape[0]
    for start in range(hits.shape[1]):
        came_from: dict[int, int] = {}
        queue, free = [start], -1
        for column in queue:  # it grows
            for row in np.flatnonzero(hits[:, column]).tolist():
                if row not in came_from:
                    came_from[row] = column
                    queue += [column_of[row]] if column_of[row] >= 0 else []
            free = next((row for row in came_from if column_of[row] < 0), -1)
            if free >= 0:
                break
        while free >= 0:
            column = came_from[free]
            row_of[column], column_of[free], free = free, column, row_of[column]
    return [(row, column) for column, row in enumerate(row_of) if row >= 0]


def _holds(region: Geometry, places: Floats) -> Bools:
    """Return which places lie in a box, edges included, or an outline, by the even-odd rule."""
    x, y = places[:, 0], places[:, 1]
    if region.rules.form == "corners":
        x1, y1, x2, y2 = region.values
        return (x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2)
    inside = np.zeros(len(places), dtype=np.bool_)
    if region.rules.form == "ring":
        corners = np.array(region.values, dtype=np.float64).reshape(-1, 2)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y1 != y2:
                crosses = (y1 > y) != (y2 > y)
                inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside
