"""The gallery shows every chosen record, what is taught, and what the bins cost."""

import html
import json
import re
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.inspection.survey.encoding import default_style
from coordexp.inspection.survey.gallery import chosen_records, gallery_page
from coordexp.viewing.draw import Labels
from tests.viewing.hostile import EVIL, NAME, check_words_stay_words

STYLE = default_style(coord_tokens=True, alphabet=SPEC_ALPHABET)
LABELS: tuple[Labels, ...] = get_args(Labels)


def records(path: Path, *objects: object, image: str = "a.png") -> RecordFile:
    if not (path / "a.png").exists():
        Image.new("RGB", (640, 480), "white").save(path / "a.png")
    row = {"images": [image], "width": 640, "height": 480, "objects": list(objects)}
    with (path / "a.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return RecordFile(path / "a.jsonl", SPEC_ALPHABET)


def shown(found: RecordFile, *indices: int) -> str:
    return html.unescape(gallery_page(found, indices, STYLE).render())


def cells(page: str) -> list[list[str]]:
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in body.split("</tr>")[:-1]]


def test_the_first_records_or_a_sample_that_its_seed_repeats() -> None:
    assert chosen_records(10, limit=3, seed=None) == [0, 1, 2]
    assert chosen_records(3, limit=10, seed=7) == [0, 1, 2]
    sample = chosen_records(1000, limit=20, seed=7)
    assert sample == sorted(set(sample)) == chosen_records(1000, limit=20, seed=7)
    assert sample != chosen_records(1000, limit=20, seed=8)


def test_a_picture_stands_beside_its_answer_and_the_error_of_its_bins(tmp_path: Path) -> None:
    cat = {"desc": "cat", "bbox_2d": [10, 20.5, 300, 400]}
    page = shown(records(tmp_path, cat), 0)
    # 10 / 640 * 999 = 15.6 -> 16 -> 10.25 px; 20.5 / 480 * 999 = 42.67 -> 43 -> 20.66 px;
    # 300 / 640 * 999 = 468.3 -> 468 -> 299.82 px; 400 / 480 * 999 = 832.5 -> 833 -> 400.24 px.
    assert cells(page) == [
        [
            "1 cat",
            "0.25 px",
            "10 20.5 300 400",
            "16 43 468 833",
            "10.3 20.7 299.8 400.2",
        ]
    ]
    answer = '{"desc": "cat", "bbox_2d": ["<|coord_16|>", "<|coord_43|>", "<|coord_468|>", '
    assert answer in page
    assert "data:image/webp;base64," in page
    assert "line 1: a.png" in page


def test_prepared_records_are_drawn_by_their_exact_pixels(tmp_path: Path) -> None:
    line = ["<|coord_0|>", "<|coord_0|>", "<|coord_999|>", "<|coord_500|>"]
    kept = {"desc": "leash", "line": line, "line_px": [0, 0, 640, 240]}
    bare = {"desc": "bare", "line": line}
    assert cells(shown(records(tmp_path, kept, bare), 0)) == [
        ["1 leash", "0.24 px", "0 0 640 240", "0 0 999 500", "0 0 640 240.2"],
        ["2 bare", "\N{EN DASH}", "not kept", "0 0 999 500", "0 0 640 240.2"],
    ]


def test_long_outlines_are_named_by_their_points(tmp_path: Path) -> None:
    rug = {"desc": "rug", "poly": [0, 0, 9, 0, 9, 9, 5, 9, 0, 9]}
    assert cells(shown(records(tmp_path, rug), 0))[0][2] == "5 points"


def test_objects_stand_in_the_order_of_the_answer(tmp_path: Path) -> None:
    low = {"desc": "low", "bbox_2d": [0, 300, 9, 400]}
    high = {"desc": "high", "bbox_2d": [0, 0, 9, 9]}
    assert [row[0] for row in cells(shown(records(tmp_path, low, high), 0))] == ["1 high", "2 low"]


def test_a_picture_that_cannot_be_opened_leaves_its_place_to_the_reason(tmp_path: Path) -> None:
    found = records(tmp_path, image="gone.png")
    page = shown(records(tmp_path, {"desc": "cat", "line": [0, 0, 9, 9]}), 0, 1)
    assert "1 of 2 pictures could not be opened" in page
    assert f"there is no file {found.root / 'gone.png'}" in page
    assert page.count("<img src=") == 1


def test_words_of_the_data_stay_words(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), "white").save(tmp_path / "a.png")
    (tmp_path / NAME).write_bytes((tmp_path / "a.png").read_bytes())
    evil = {"desc": EVIL, "bbox_2d": [0, 0, 9, 9]}
    row = {"images": [NAME], "width": 640, "height": 480, "objects": [evil], "prompt": EVIL}
    path = tmp_path / "{{ 7 * 7 }}<b>.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"images": ["<i>/" + NAME]}) + "\n")
    page = gallery_page(RecordFile(path, SPEC_ALPHABET), [0, 1], STYLE).render()
    check_words_stay_words(page, EVIL, times=5)
    check_words_stay_words(page, f"line 1: {NAME}", f"asked: {EVIL}", f"{path.name}: 2 of 2")
    check_words_stay_words(page, f"no file {tmp_path}/<i>/{NAME}")
    classes = re.findall(r'data-classes="(.*?)"', page)
    assert [json.loads(html.unescape(found)) for found in classes] == [[EVIL], [EVIL]]


def test_labels_are_left_out_of_a_crowd_unless_asked_for(tmp_path: Path) -> None:
    trees = [{"desc": "tree", "bbox_2d": [n, n, n + 9, n + 9]} for n in range(40)]
    found = records(tmp_path, *trees)
    pages = {labels: gallery_page(found, [0], STYLE, labels=labels).render() for labels in LABELS}
    assert pages["auto"] == pages["off"] != pages["on"]


@pytest.mark.parametrize("name", ["cat", "(no objects)"])
def test_the_filter_offers_every_class_with_its_number_of_records(
    tmp_path: Path, name: str
) -> None:
    cat = {"desc": "cat", "bbox_2d": [0, 0, 9, 9]}
    records(tmp_path, cat, {**cat, "bbox_2d": [0, 0, 8, 8]})
    page = shown(records(tmp_path), 0, 1)
    assert f'<option value="{name}">{name} (1)</option>' in page
