"""Drawings of what a model said; nothing is called wrong."""

import html
import re
from pathlib import Path

import pytest
from PIL import Image

from coordexp.errors import InputError
from coordexp.evaluation.measure.mistakes import MISTAKE_KINDS
from coordexp.inspection.survey.drawn_predictions import check_drawable, draw_predictions
from tests.evaluation.conftest import SIZE, Row, make_row, write_predictions
from tests.viewing.chromium import check_page, result_of
from tests.viewing.hostile import EVIL, check_words_stay_words

CAT = ("cat", (10, 20, 90, 80), 0.93)
DOG = ("dog", (100, 20, 190, 150), 0.41)


def predictions(folder: Path, *rows: Row) -> Path:
    (folder / "images").mkdir()
    for row in rows:
        Image.new("RGB", SIZE, "white").save(folder / row["image"])
    return write_predictions(folder / "p.jsonl", rows)


def test_each_picture_is_drawn_and_shown(tmp_path: Path) -> None:
    rows = [
        make_row(pred=[CAT, DOG], image="images/1.png"),
        {**make_row(pred=[DOG], image="images/2.png"), "prompt": "Find every dog."},
        make_row(image="images/3.png"),
    ]
    drawn = draw_predictions(predictions(tmp_path, *rows), tmp_path / "seen", overwrite=False)
    assert (drawn.page, drawn.pictures) == (tmp_path / "seen" / "index.html", 3)
    names = sorted(path.name for path in (tmp_path / "seen" / "pictures" / "images").iterdir())
    assert names == ["1.png.jpg", "2.png.jpg", "3.png.jpg"]
    with Image.open(tmp_path / "seen/pictures/images/1.png.jpg") as picture:
        assert len(picture.convert("RGB").getcolors(2**20) or ()) > 10
    page = html.unescape(drawn.page.read_text(encoding="utf-8"))
    assert "3 pictures, 3 objects." in page
    assert "1 object; asked: Find every dog." in page
    assert "<b>cat</b> 0.93" in page


def test_without_truth_nothing_is_said_of_mistakes(tmp_path: Path) -> None:
    path = predictions(tmp_path, make_row(pred=[CAT]))
    page = draw_predictions(path, tmp_path / "seen", overwrite=False).page
    main = page.read_text(encoding="utf-8").partition("<main>")[2].partition("</main>")[0]
    words = re.sub(r"<[^>]*>", " ", main)
    assert "cat" in words
    for word in (*MISTAKE_KINDS, "istake", "wrong", "right", "true", "judged"):
        assert word not in words


def test_truth_is_drawn_beside_and_not_judged(tmp_path: Path) -> None:
    path = predictions(tmp_path, make_row([("cat", CAT[1])], [DOG]))
    text = draw_predictions(path, tmp_path / "seen", overwrite=False).page.read_text("utf-8")
    body = text.partition("<main>")[2].partition("</main>")[0]
    assert "Nothing is judged here" in body
    assert '<li class="true"' in body
    assert "missed" not in body


def test_a_picture_asked_twice_is_drawn_twice_and_a_missing_one_is_told(tmp_path: Path) -> None:
    rows = [{**make_row(pred=[CAT]), "prompt": prompt} for prompt in ("a", "b")]
    path = predictions(tmp_path, *rows)
    write_predictions(path, [*rows, make_row(image="images/gone.png")])
    (tmp_path / "images" / "gone.png").unlink()
    drawn = draw_predictions(path, tmp_path / "seen", overwrite=False)
    names = sorted(path.name for path in (tmp_path / "seen" / "pictures" / "images").iterdir())
    assert names == ["1.png.2.jpg", "1.png.jpg"]
    assert "1 of 3 pictures could not be opened." in drawn.page.read_text(encoding="utf-8")


def test_nothing_but_an_earlier_drawing_is_replaced(tmp_path: Path) -> None:
    path = predictions(tmp_path, make_row(pred=[CAT]))
    draw_predictions(path, tmp_path / "seen", overwrite=False)
    with pytest.raises(InputError, match="exists already"):
        check_drawable(tmp_path / "seen", overwrite=False)
    draw_predictions(path, tmp_path / "seen", overwrite=True)
    with pytest.raises(InputError, match=r"holds more than an earlier drawing \(images\)"):
        check_drawable(tmp_path, overwrite=True)
    assert path.exists()


def test_words_stay_words(tmp_path: Path) -> None:
    row = {**make_row(pred=[(EVIL, CAT[1], 0.5)]), "prompt": EVIL}
    drawn = draw_predictions(predictions(tmp_path, row), tmp_path / "seen", overwrite=False)
    check_words_stay_words(drawn.page.read_text(encoding="utf-8"))


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_reads_well_and_its_filter_leaves_the_class_asked_for(tmp_path: Path) -> None:
    rows = [make_row(pred=[CAT], image="images/1.png"), make_row(pred=[DOG], image="images/2.png")]
    page = draw_predictions(predictions(tmp_path, *rows), tmp_path / "seen", overwrite=False).page
    check_page(page, tmp_path)
    chosen = """
        const filter = document.getElementById("class-filter");
        filter.value = "dog";
        filter.dispatchEvent(new Event("change"));
        return [...document.querySelectorAll(".sample")].map((each) => each.hidden);"""
    assert result_of(page, tmp_path, chosen) == [True, False]
