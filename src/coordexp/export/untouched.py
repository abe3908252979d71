"""What a merge must not change, compared between the files of the base and those written."""

from dataclasses import dataclass
from pathlib import Path

from coordexp.errors import CoordExpError
from coordexp.export.bake import BakePlan
from coordexp.model.shards import StoredTensor, Weights, load_weights


@dataclass(frozen=True, slots=True)
class WeightsComparison:
    """What differs between base and merged model.

    Args:
        tensors: How many the merged model has.
        equal: Those that are the base's, bit for bit.
        merged_layers: Those that LoRA or DoRA was merged into.
        coord_rows_moved: Of each vocabulary table, how many coord rows differ from the base's.
        other_rows_equal: Of each vocabulary table, how many rows are the base's, bit for bit: all
            but the coord rows.
    """

    tensors: int
    equal: int
    merged_layers: int
    coord_rows_moved: dict[str, int]
    other_rows_equal: dict[str, int]


def compare_weights(
    base: Weights, merged: Path, plan: BakePlan, coord_ids: tuple[int, int] | None
) -> WeightsComparison:
    """Compare a merged model's files with the base's, a piece at a time.

    Raises:
        CoordExpError: If a tensor is missing, too many or of another type or shape, or differs
            where it must not.
    """
    before, after = base.by_name, load_weights(merged).by_name
    if wrong := sorted(after.keys() ^ (before.keys() | plan.tables.keys())):
        raise CoordExpError(f"{wrong[0]}: should be in the merged model where it is in the base")
    equal = 0
    moved, kept = {}, {}
    for name, tensor in after.items():
        source = before[plan.tables.get(name, name)]
        if (tensor.code, tensor.shape) != (source.code, source.shape):
            raise CoordExpError(f"{name}: another type or shape than in the base")
        if name in plan.tables and coord_ids is not None:
            kept[name] = _equal_rows(source, tensor, coord_ids)
            moved[name] = _moved_rows(source, tensor, coord_ids)
        elif name not in plan.layers:
            _check_equal(source, tensor)
            equal += 1
    return WeightsComparison(
        tensors=len(after),
        equal=equal,
        merged_layers=len(plan.layers),
        coord_rows_moved=moved,
        other_rows_equal=kept,
    )


def _equal_rows(before: StoredTensor, after: StoredTensor, coord_ids: tuple[int, int]) -> int:
    first, stop = coord_ids[0], coord_ids[1] + 1
    count = before.shape[0]
    for part in ((0, first), (stop, count)):
        _check_equal(before.rows(*part), after.rows(*part))
    return count - (stop - first)


def _moved_rows(before: StoredTensor, after: StoredTensor, coord_ids: tuple[int, int]) -> int:
    part = (coord_ids[0], coord_ids[1] + 1)
    differs = before.load_rows(*part) != after.load_rows(*part)
    return int(differs.any(-1).sum())


def _check_equal(before: StoredTensor, after: StoredTensor) -> None:
    if any(old != new for old, new in zip(before.pieces(), after.pieces(), strict=True)):
        raise CoordExpError(f"{after.name}: differs from the base where it must not")
