"""Counts are training's own, and nothing needs the pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import RecordError
from coordexp.inspection.survey.encoding import source_of_model
from coordexp.inspection.survey.stats import FileStats, Spread, file_stats
from coordexp.inspection.survey.stats_page import stats_page
from coordexp.inspection.survey.stats_tables import sheets
from tests.viewing.hostile import EVIL, check_words_stay_words


def counted(path: Path, model: Path, limit: int | None = None) -> FileStats:
    return file_stats(
        RecordFile(path, SPEC_ALPHABET),
        source_of_model(model, SPEC_ALPHABET).encoder(),
        limit=limit,
    )


def test_lengths_are_those_of_the_encoded_examples(scenes: Path, tiny_expanded: Path) -> None:
    encoder = source_of_model(tiny_expanded, SPEC_ALPHABET).encoder()
    records = RecordFile(scenes, SPEC_ALPHABET)
    encoded = [
        len(encoder.encode(record, load_image(records.root, record), seed=0, epoch=0, index=k))
        for k, record in enumerate(records)
    ]
    assert list(file_stats(records, encoder, limit=None).lengths) == encoded


def test_no_picture_is_opened(tmp_path: Path, tiny_expanded: Path) -> None:
    path = tmp_path / "a.jsonl"
    box = {"desc": "cat", "bbox_2d": [0, 0, 20, 20]}
    poly = {"desc": "cat", "poly": [0, 0, 64, 0, 64, 64]}
    line = {"desc": "leash", "line": ["<|coord_0|>"] * 2 + ["<|coord_999|>"] * 2}
    row = {"images": ["gone.png"], "width": 128, "height": 128, "objects": [box, poly, line]}
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"objects": []}) + "\n")
    stats = counted(path, tiny_expanded)
    assert list(stats.objects) == [3, 0]
    assert stats.descs == {"cat": 2, "leash": 1}
    assert stats.kinds == {"bbox_2d": 1, "poly": 1, "line": 1}
    assert list(stats.box_px) == [400, 4096, 128 * 128]
    assert stats.box_share[1] == pytest.approx(0.25)
    assert stats.sizes() == {"small": 1, "medium": 1, "large": 1}
    assert stats.lengths[0] > stats.lengths[1]


def test_a_point_has_no_size(tmp_path: Path, tiny_expanded: Path) -> None:
    path = tmp_path / "a.jsonl"
    point = {"desc": "nose", "point_2d": [5, 9]}
    row = {"images": ["gone.png"], "width": 128, "height": 128, "objects": [point, point]}
    path.write_text(json.dumps(row) + "\n")
    stats = counted(path, tiny_expanded)
    assert (stats.kinds, list(stats.box_px)) == ({"point_2d": 2}, [])
    assert ["point_2d", "2", "100.0%"] in sheets(stats)[2].rows
    stats_page(stats, name="a.jsonl", told="by a test")


def test_what_is_not_taught_is_counted_apart(tmp_path: Path, tiny_expanded: Path) -> None:
    box = {"desc": "cat", "bbox_2d": [0, 0, 20, 20]}
    row = {"images": ["gone.png"], "width": 64, "height": 64, "objects": [box]}
    more = [box, {**box, "iscrowd": 1}, {**box, "desc": "dog", "ignore": 1}]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "objects": more}) + "\n")
    stats = counted(path, tiny_expanded)
    assert list(stats.objects) == [1, 1]
    assert stats.lengths[0] == stats.lengths[1]
    assert (stats.descs, stats.untaught) == ({"cat": 2}, 2)
    cells = [row for sheet in sheets(stats) for row in sheet.rows]
    assert ["crowds and ignored, beside these: never taught", "2", ""] in cells


def test_a_bad_record_is_named_by_file_and_line(tmp_path: Path, tiny_expanded: Path) -> None:
    path = tmp_path / "a.jsonl"
    thing = {"desc": "a <|im_end|>", "line": [0, 0, 1, 1]}
    row = {"images": ["a.png"], "width": 64, "height": 64, "objects": [thing]}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(RecordError, match=r"a\.jsonl:1: objects\[0\]: desc: holds the special"):
        counted(path, tiny_expanded)


def test_what_is_over_the_limit_is_counted_and_left_out_of_packs() -> None:
    stats = FileStats(limit=100)
    stats.lengths.extend([60, 40, 50, 50, 101, 300])
    stats.objects.extend([1] * 6)
    assert stats.too_long == 2
    at_limit, *usual = stats.pack_fills()
    assert (at_limit.capacity, at_limit.packs, at_limit.fill, at_limit.too_long) == (100, 2, 1, 2)
    assert [fill.capacity for fill in usual] == [1024, 2048, 4096, 8192, 16384, 32768]
    assert usual[0].fill == pytest.approx(601 / 1024)


def test_packs_are_filled_from_a_buffer_of_the_run() -> None:
    fills = []
    for pack_buffer in (1, 4):
        stats = FileStats(limit=100, pack_buffer=pack_buffer)
        stats.lengths.extend([60, 60, 40, 40])
        fills.append(stats.pack_fills()[0].packs)
    assert fills == [3, 2]  # one at a time: 60, 60 + 40, 40


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60))
def test_percentiles_are_numbers_that_enough_of_the_others_do_not_exceed(values: list[int]) -> None:
    spread = Spread.of(values)
    for share, figure in ((0.5, spread.p50), (0.95, spread.p95), (0.99, spread.p99)):
        assert figure in values
        assert sum(value <= figure for value in values) >= share * len(values) - 1e-9
        assert sum(value < figure for value in values) < share * len(values)
    assert spread.most == max(values)
    assert spread.mean == pytest.approx(np.mean(values))


def test_the_tables_and_the_page_hold_the_figures(scenes: Path, tiny_expanded: Path) -> None:
    stats = counted(scenes, tiny_expanded, limit=250)
    tables = sheets(stats)
    assert f"{stats.too_long} (" in tables[0].title
    assert all(len(row) == len(sheet.head) for sheet in tables for row in sheet.rows)
    page = stats_page(stats, name="a.jsonl", told="as X trains").render()
    assert "a.jsonl, counted as X trains." in page
    assert f"{Spread.of(stats.lengths).p95:,}" in page
    for desc in stats.descs:
        assert desc in page


def test_words_of_the_data_stay_words_on_the_page() -> None:
    stats = FileStats(limit=5)
    stats.lengths.extend([3, 7])
    stats.objects.extend([1, 1])
    stats.descs.update([EVIL, EVIL])
    stats.kinds.update(["bbox_2d", "bbox_2d"])
    stats.box_px.extend([9.0, 9.0])
    stats.box_share.extend([0.1, 0.1])
    page = stats_page(stats, name=EVIL, told=EVIL).render()
    check_words_stay_words(page, f"{EVIL}, counted {EVIL}.")
    check_words_stay_words(page, EVIL, times=4)
