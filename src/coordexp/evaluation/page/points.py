"""What the report says of points."""

from collections.abc import Mapping, Sequence
from typing import Any

from coordexp.evaluation.measure.point_figures import share_name
from coordexp.evaluation.measure.points import SHARES, SHOWN_SHARE
from coordexp.viewing.elements import Sheet, Tile

_DASH = "\N{EN DASH}"
_CLASSES = 40
_KINDS = ("precision", "recall", "F1")


def point_tiles(points: Mapping[str, Any] | None) -> list[Tile]:
    """Return the headline of points, nothing for a file without any."""
    if points is None:
        return []
    tiles, near = [], f"F1@{share_name(SHOWN_SHARE)}"
    if points["distance"] is not None:
        tiles.append(
            Tile(f"Points {near}", _shown(points["distance"][near]), "within that of the diagonal")
        )
    if points["inside"] is not None:
        hits = _shown(points["inside"]["F1"])
        tiles.append(Tile("Points inside", hits, "F1 of hitting a box or outline"))
    return tiles


def point_sheets(points: Mapping[str, Any] | None) -> list[Sheet]:
    """Return the tables of points, nothing for a file without any."""
    if points is None:
        return []
    sheets = []
    if (distance := points["distance"]) is not None:
        rows = [
            [f"within {share_name(share)}"]
            + [_shown(distance[f"{kind}@{share_name(share)}"]) for kind in _KINDS]
            for share in SHARES
        ]
        caption = (
            f"{points['true']:,} true points, {distance['judged']:,} predicted ones judged by "
            "distance, in shares of the diagonal; mean distance of pairs "
            f"{_shown(distance['mean_distance'], 4)}."
        )
        sheets.append(Sheet(caption, ["Points", *_KINDS], rows))
    if (inside := points["inside"]) is not None:
        caption = (
            f"{inside['judged']:,} predicted points judged by whether they lie inside one of "
            f"{inside['true']:,} true boxes and outlines."
        )
        row = ["inside", *(_shown(inside[kind]) for kind in _KINDS)]
        sheets.append(Sheet(caption, ["Points", *_KINDS], [row]))
    return [*sheets, _class_sheet(points["per_class"])]


def _class_sheet(classes: Sequence[Mapping[str, Any]]) -> Sheet:
    ranked = sorted(classes, key=lambda row: -row["true"])[:_CLASSES]
    names = [*(f"F1@{share_name(share)}" for share in SHARES), "F1 inside"]
    rows = [
        [
            row["class"],
            f"{row['true']:,}",
            f"{row['predicted']:,}",
            *(_shown(row[n]) for n in names),
        ]
        for row in ranked
    ]
    return Sheet("Points by class.", ["Class", "true", "predicted", *names], rows)


def _shown(value: float | None, digits: int = 3) -> str:
    return _DASH if value is None else f"{value:.{digits}f}"
