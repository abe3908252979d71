"""Truth and predictions of a whole file as columns, for every figure alike."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from coordexp.data.contract.federated import Frequency
from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.record import Geometry
from coordexp.evaluation.measure.categories import (
    Categories,
    CategoryMatching,
    UnknownDescs,
    build_categories,
    matching_form,
)
from coordexp.evaluation.measure.collector import collector_paused
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scored_objects import ScoredObject

LEFT_OUT_TRUTH = "true objects without area"
LEFT_OUT_LINES = "predicted lines without area"
LEFT_OUT_UNKNOWN = "predicted objects of unknown desc"
LEFT_OUT_POINTS = "true and predicted points, which have figures of their own"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects in the order of their images; each array has one entry, or row, an object.

    Args:
        image: Index of its image, from 0.
        place: Index among the true, or the predicted, objects of its line.
        category: Its id, from 1.
        boxes: `x1, y1, x2, y2` of the bounding box, whatever the geometry is.
        score: 1 for a true object.
        crowd: Whether a true object stands for a group.
        ignored: Whether a true object that is no crowd is passed over.
        searched: Whether the class of a prediction was searched for in its image.
        exhaustive: Whether every object of the class of a prediction is marked in its image.
        known_area: In square pixels, where the dataset says so; else NaN.
        geometries: In pixels.
    """

    image: Ints
    place: Ints
    category: Ints
    boxes: Floats
    score: Floats
    crowd: Bools
    ignored: Bools
    searched: Bools
    exhaustive: Bools
    known_area: Floats
    geometries: tuple[Geometry, ...]

    @property
    def counted(self) -> Bools:
        """Which true objects are to be found: neither crowds nor ignored ones."""
        return ~(self.crowd | self.ignored)

    @property
    def area(self) -> Floats:
        """What the dataset says, else that of the box."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        return np.where(np.isnan(self.known_area), width * height, self.known_area)

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.geometries)

    def chosen(self, keep: Bools) -> "Objects":
        """Return those that a mask keeps."""
        return Objects(
            image=self.image[keep],
            place=self.place[keep],
            category=self.category[keep],
            boxes=self.boxes[keep],
            score=self.score[keep],
            crowd=self.crowd[keep],
            ignored=self.ignored[keep],
            searched=self.searched[keep],
            exhaustive=self.exhaustive[keep],
            known_area=self.known_area[keep],
            geometries=tuple(self.geometries[k] for k in np.flatnonzero(keep).tolist()),
        )


@dataclass(frozen=True, slots=True)
class Instances:
    """Everything that the figures compare.

    Args:
        sizes: Width and height of each image.
        categories: The classes.
        truth: What is there, but for points.
        predicted: What the model says, but for points.
        true_points: The points that are there.
        predicted_points: The points that the model says.
        unknown: How often each predicted desc came that is no class.
        left_out: How many objects take no part in the figures, and why.
        frequency: Of the classes in the dataset, by id, where it is federated; None elsewhere.
    """

    sizes: tuple[tuple[int, int], ...]
    categories: Categories
    truth: Objects
    predicted: Objects
    true_points: Objects
    predicted_points: Objects
    unknown: Mapping[str, int]
    left_out: Mapping[str, int]
    frequency: Mapping[int, Frequency] | None = None

    def with_scores(self, scores: Floats) -> "Instances":
        """Return the same with other scores."""
        return replace(self, predicted=replace(self.predicted, score=scores))

    def without_predictions(self, dropped: Bools) -> "Instances":
        """Return the same without some of the predictions."""
        return replace(self, predicted=self.predicted.chosen(~dropped))


@collector_paused()
def collect_instances(
    predictions: Sequence[Prediction], *, matching: CategoryMatching, unknown: UnknownDescs
) -> Instances:
    """Return the instances of a predictions file.

    A true object without area is left out, since no overlap with it can be measured: a box that
    collapsed when it was quantised, or the bounding box of an upright line. Predicted lines without
    area go with them, while a predicted box without area stays, as the false positive that it is.
    """
    descs = dict.fromkeys(item.desc for row in predictions for item in row.truth)
    categories = build_categories(descs, matching=matching, unknown=unknown)
    truth = _Side(_Columns(categories), _Columns(categories), LEFT_OUT_TRUTH)
    predicted = _Side(_Columns(categories), _Columns(categories), LEFT_OUT_LINES)
    unknown_descs: Counter[str] = Counter()
    left_out: Counter[str | None] = Counter()
    bucket, drop = categories.bucket_id, unknown == "drop"
    for image, row in enumerate(predictions):
        for place, item in enumerate(row.truth):
            left_out[truth.add(image, place, item, keep_flat=False)] += 1
        predicted.search_for(_Search.of(row, categories))
        for place, item in enumerate(row.predicted):
            if predicted.regions.category_of(item.desc) == bucket:
                unknown_descs[item.desc] += 1
                if drop:
                    left_out[LEFT_OUT_UNKNOWN] += 1
                    continue
            keep_flat = item.geometry.rules.has_area
            left_out[predicted.add(image, place, item, keep_flat=keep_flat)] += 1
    return Instances(
        sizes=tuple((row.width, row.height) for row in predictions),
        categories=categories,
        truth=truth.regions.objects(),
        predicted=predicted.regions.objects(),
        true_points=truth.points.objects(),
        predicted_points=predicted.points.objects(),
        unknown=dict(unknown_descs.most_common()),
        left_out={why: count for why, count in left_out.items() if why is not None},
        frequency=_frequencies(predictions, categories),
    )


def _frequencies(
    predictions: Sequence[Prediction], categories: Categories
) -> Mapping[int, Frequency] | None:
    federated = [row.federated for row in predictions if row.federated is not None]
    if not federated:
        return None
    named = {name: frequency for each in federated for name, frequency in each.frequency.items()}
    ids = ((categories.id_of(name), frequency) for name, frequency in named.items())
    return {number: frequency for number, frequency in ids if number is not None}


@dataclass(frozen=True, slots=True)
class _Search:
    """What an image was searched for.

    Args:
        matching: How descs become classes.
        classes: Those searched for, as their descs are matched.
        partly: Those of which not every object is marked.
    """

    matching: CategoryMatching
    classes: frozenset[str]
    partly: frozenset[str]

    @classmethod
    def of(cls, row: Prediction, categories: Categories) -> "_Search | None":
        """Return the search of a federated image, None where everything was searched for."""
        if row.federated is None:
            return None

        def forms(names: Iterable[str]) -> frozenset[str]:
            return frozenset(matching_form(name, categories.matching) for name in names)

        there = (item.desc for item in row.truth)
        return cls(
            categories.matching,
            forms((*row.federated.absent, *there)),
            forms(row.federated.not_exhaustive),
        )


@dataclass(slots=True)
class _Columns:
    """Objects in the making."""

    categories: Categories
    ids: dict[str, int] = field(default_factory=dict)
    image: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    items: list[ScoredObject] = field(default_factory=list)
    searched: list[bool] = field(default_factory=list)
    exhaustive: list[bool] = field(default_factory=list)
    search: _Search | None = None

    def category_of(self, desc: str) -> int:
        """Return the id of a desc, the bucket's where it is no class."""
        if desc not in self.ids:
            self.ids[desc] = self.categories.id_of(desc) or self.categories.bucket_id
        return self.ids[desc]

    def add(self, image: int, place: int, item: ScoredObject, *, keep_flat: bool) -> bool:
        """Add an object and return whether it was kept; one without area may not be."""
        geometry = item.geometry
        plain = geometry.rules.form == "corners"
        box = geometry.values if plain else bounding_box(geometry.values)
        if not keep_flat and (box[0] == box[2] or box[1] == box[3]):
            return False
        self.image.append(image)
        self.place.append(place)
        self.category.append(self.category_of(item.desc))
        self.boxes.append(box)
        self.items.append(item)
        if self.search is not None:
            form = matching_form(item.desc, self.search.matching)
            self.searched.append(form in self.search.classes)
            self.exhaustive.append(form not in self.search.partly)
        else:
            self.searched.append(True)
            self.exhaustive.append(True)
        return True

    def objects(self) -> Objects:
        """Return the columns."""
        return Objects(
            image=np.array(self.image, dtype=np.int64),
            place=np.array(self.place, dtype=np.int64),
            category=np.array(self.category, dtype=np.int64),
            boxes=np.array(self.boxes, dtype=np.float64).reshape(-1, 4),
            score=np.array([item.score for item in self.items], dtype=np.float64),
            crowd=np.array([item.marks.is_crowd for item in self.items], dtype=np.bool_),
            ignored=np.array([item.marks.is_ignored for item in self.items], dtype=np.bool_),
            searched=np.array(self.searched, dtype=np.bool_),
            exhaustive=np.array(self.exhaustive, dtype=np.bool_),
            known_area=np.array([item.marks.area for item in self.items], dtype=np.float64),
            geometries=tuple(item.geometry for item in self.items),
        )


@dataclass(frozen=True, slots=True)
class _Side:
    """Truth or predictions in the making.

    Args:
        regions: All but points.
        points: These.
        flat: Why one without area is left out.
    """

    regions: _Columns
    points: _Columns
    flat: str

    def search_for(self, search: _Search | None) -> None:
        """Go on to an image that was searched so."""
        self.regions.search = self.points.search = search

    def add(self, image: int, place: int, item: ScoredObject, *, keep_flat: bool) -> str | None:
        """Add an object and return why the figures of boxes leave it out, None where not."""
        if item.geometry.rules.form == "place":
            self.points.add(image, place, item, keep_flat=True)
            return LEFT_OUT_POINTS
        return None if self.regions.add(image, place, item, keep_flat=keep_flat) else self.flat
