"""Both pages as Chromium shows them, on a desk and on a phone."""

import json
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.inspection.survey.encoding import default_style, source_of_model
from coordexp.inspection.survey.gallery import gallery_page
from coordexp.inspection.survey.stats import file_stats
from coordexp.inspection.survey.stats_page import stats_page
from tests.viewing.chromium import browse, check_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_gallery_reads_well_and_its_filter_leaves_the_class_asked_for(tmp_path: Path) -> None:
    Image.effect_noise((200, 150), 80).save(tmp_path / "a.png")
    shapes: list[dict[str, object]] = [
        {"desc": 'the "cat"', "bbox_2d": [10, 20, 100, 90]},
        {"desc": "rug", "poly": [0, 0, 60, 0, 60, 60, 0, 60]},
        {"desc": "leash", "line": [5, 5, 150, 120, 180, 20]},
    ]
    rows = [
        {"images": ["a.png"], "width": 200, "height": 150, "objects": found}
        for found in (shapes, shapes[1:], [])
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = gallery_page(
        RecordFile(tmp_path / "a.jsonl", SPEC_ALPHABET),
        [0, 1, 2],
        default_style(coord_tokens=True, alphabet=SPEC_ALPHABET),
    )
    page.write(tmp_path / "view.html")
    check_page(tmp_path / "view.html", tmp_path)

    choose = (
        "<script>const f = document.getElementById('class-filter');"
        "f.value = 'the \"cat\"'; f.dispatchEvent(new Event('change'));</script></body>"
    )
    filtered = tmp_path / "filtered.html"
    filtered.write_text(page.render().replace("</body>", choose), encoding="utf-8")
    dom = browse(filtered, tmp_path / "filter", "--dump-dom")
    assert dom.count('<article class="sample"') == 3
    assert dom.count('hidden=""><h3>') == 2
    assert "1 of 3</output>" in dom


def test_the_statistics_read_well(tmp_path: Path, scenes: Path, tiny_expanded: Path) -> None:
    encoder = source_of_model(tiny_expanded, SPEC_ALPHABET).encoder()
    stats = file_stats(RecordFile(scenes, SPEC_ALPHABET), encoder, limit=250)
    stats_page(stats, name=scenes.name, told="in a test").write(tmp_path / "stats.html")
    check_page(tmp_path / "stats.html", tmp_path)
