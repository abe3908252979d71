"""The written weights read back, number for number, and held against what they must be.

`expected` says what that is, and how far this is from the code that wrote them. A block of rows of
two tensors is in memory at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from coordexp.export.exact_lora import ExpertFactors, LoraFactors, excess
from coordexp.export.expected import Expected
from coordexp.export.tensor_reader import ReadTensor, open_checkpoint

NameRow = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class WeightsComparison:
    """What was read back.

    Args:
        tensors: How many the merged model has.
        equal: Those that are the base's, bit for bit.
        merged_layers: Those that LoRA or DoRA was merged into.
        farthest_layer: The largest error of a number in them, as a share of what rounding allows.
        coord_rows_exact: Of each vocabulary table with offsets, how many coord rows are base +
            offset, bit for bit: all of them.
        coord_rows_moved: How many of them differ from the base's.
        other_rows_equal: Of each such table, how many rows are the base's, bit for bit: all but the
            coord rows.
    """

    tensors: int
    equal: int
    merged_layers: int
    farthest_layer: float
    coord_rows_exact: dict[str, int]
    coord_rows_moved: dict[str, int]
    other_rows_equal: dict[str, int]


def read_back(
    base: Path,
    merged: Path,
    expected: Expected,
    *,
    coord_ids: tuple[int, int] | None,
    name_row: NameRow,
) -> tuple[WeightsComparison, list[str]]:
    """Return what the files hold, and everything in them that is not as it must be.

    Args:
        base: The base's directory.
        merged: The merged model's.
        expected: What it must hold.
        coord_ids: First and last.
        name_row: Says what a row of the vocabulary is.
    """
    with ExitStack() as files:
        before, after = open_checkpoint(base, files), open_checkpoint(merged, files)
        reading = _Reading(expected, coord_ids, name_row)
        names = before.keys() | expected.tables.keys()
        for name in sorted(names - after.keys()):
            reading.problems.append(f"{name}: is missing")
        for name in sorted(after.keys() - names):
            reading.problems.append(f"{name}: is neither the base's nor made by merging")
        for name in sorted(names & after.keys()):
            reading.compare(before[expected.source(name)], after[name])
    return reading.result(len(after)), reading.problems


class _Reading:
    """The comparison as it goes from tensor to tensor."""

    def __init__(
        self, expected: Expected, coord_ids: tuple[int, int] | None, name_row: NameRow
    ) -> None:
        self._expected = expected
        self._coord_ids = coord_ids
        self._name_row = name_row
        self._equal = 0
        self._farthest = 0.0
        self._tables: dict[str, _TableRows] = {}
        self.problems: list[str] = []

    def result(self, tensors: int) -> WeightsComparison:
        """Return the counts."""
        tables = self._tables
        return WeightsComparison(
            tensors=tensors,
            equal=self._equal,
            merged_layers=len(self._expected.layers),
            farthest_layer=self._farthest,
            coord_rows_exact={name: rows.exact for name, rows in tables.items()},
            coord_rows_moved={name: rows.moved for name, rows in tables.items()},
            other_rows_equal={name: rows.kept for name, rows in tables.items()},
        )

    def compare(self, source: ReadTensor, written: ReadTensor) -> None:
        """Take in one tensor."""
        name = written.name
        if written.kind != source.kind:
            self.problems.append(f"{name}: is {written.kind}; expected {source.kind}")
        elif name in self._expected.tables:
            self._table(source, written, self._expected.tables[name].offset)
        elif name in self._expected.layers:
            self._layer(source, written, self._expected.layers[name])
        elif (row := _first_difference(source, written)) is not None:
            self.problems.append(f"{name}: differs from the base, first in row {row}")
        else:
            self._equal += 1

    def _table(self, source: ReadTensor, written: ReadTensor, offset: Tensor) -> None:
        if self._coord_ids is None:
            raise TypeError("coord offsets without coord ids")
        rows = _table_rows(source, written, offset, self._coord_ids)
        self._tables[written.name] = rows
        for wrong, what in (
            (rows.wrong_coord, "is not base + offset, rounded once"),
            (rows.wrong_other, "differs from the base where it must not"),
        ):
            if wrong:
                row = self._name_row(wrong[0])
                more = f"; {len(wrong)} such rows" if len(wrong) > 1 else ""
                self.problems.append(f"{written.name}: row {wrong[0]} ({row}) {what}{more}")

    def _layer(
        self, source: ReadTensor, written: ReadTensor, factors: LoraFactors | ExpertFactors
    ) -> None:
        farthest, place = 0.0, ""
        for share, where in _shares(source, written, factors):
            largest = float(share.max())
            if largest > farthest:
                row, column = divmod(int(share.argmax()), share.shape[1])
                farthest, place = largest, where(row, column)
        self._farthest = max(self._farthest, farthest)
        if not farthest <= 1:
            is_dora = isinstance(factors, LoraFactors) and factors.magnitude is not None
            self.problems.append(
                f"{written.name}: is not the base with {'DoRA' if is_dora else 'LoRA'} merged: "
                f"{place} is off by {farthest:.3g} times what rounding allows"
            )


def _shares(
    source: ReadTensor, written: ReadTensor, factors: LoraFactors | ExpertFactors
) -> Iterator[tuple[Tensor, Callable[[int, int], str]]]:
    """Yield how far numbers are off, a block of rows at a time, and what says where one is."""
    for part in source.blocks():
        before, after = source.rows(part), written.rows(part)
        if isinstance(factors, LoraFactors):
            yield excess(before, after, factors, part), partial(_place, part.start, "")
            continue
        for number, matrices in enumerate(zip(before, after, strict=True), start=part.start):
            base, stored = (one.T if factors.is_turned else one for one in matrices)
            share = excess(base, stored, factors.of(number), slice(None))
            yield share, partial(_place, 0, f"expert {number}, ")


def _place(first: int, before: str, row: int, column: int) -> str:
    return f"{before}row {first + row}, column {column}"


@dataclass(slots=True)
class _TableRows:
    """What the rows of a vocabulary table are."""

    exact: int
    moved: int
    kept: int
    wrong_coord: list[int]
    wrong_other: list[int]


def _table_rows(
    source: ReadTensor, written: ReadTensor, offset: Tensor, coord_ids: tuple[int, int]
) -> _TableRows:
    first, stop = coord_ids[0], coord_ids[1] + 1
    rows = _TableRows(0, 0, 0, [], [])
    for part in source.blocks():
        before, after = source.rows(part), written.rows(part)
        # The documented arithmetic: each coord row added to in float32, and rounded once.
        wanted = before.clone()
        here = slice(max(first, part.start), min(stop, part.stop))
        inside = slice(here.start - part.start, here.stop - part.start)
        if here.start < here.stop:
            added = offset[here.start - first : here.stop - first].float()
            wanted[inside] = (before[inside].float() + added).to(before.dtype)
        same = _bits(after).eq(_bits(wanted)).all(1)
        is_coord = torch.zeros_like(same)
        if here.start < here.stop:
            is_coord[inside] = True
        moved = _bits(after).ne(_bits(before)).any(1)
        rows.exact += int((same & is_coord).sum())
        rows.moved += int((moved & is_coord).sum())
        rows.kept += int((same & ~is_coord).sum())
        rows.wrong_coord += _numbers(~same & is_coord, part)
        rows.wrong_other += _numbers(~same & ~is_coord, part)
    return rows


def _numbers(rows: Tensor, part: slice) -> list[int]:
    found: list[int] = (rows.nonzero()[:, 0] + part.start).tolist()
    return found


def _first_difference(source: ReadTensor, written: ReadTensor) -> int | None:
    """Return the first row in which two tensors differ; None where they are equal."""
    for part in source.blocks():
        differs = _bits(source.rows(part)).ne(_bits(written.rows(part))).any(1)
        if differs.any():
            return _numbers(differs, part)[0]
    return None


def _bits(tensor: Tensor) -> Tensor:
    """Return the bytes of each row: not a number equals itself, and -0 is not 0."""
    rows: Tensor = tensor.contiguous().reshape(len(tensor), -1)
    return rows.view(torch.uint8)
