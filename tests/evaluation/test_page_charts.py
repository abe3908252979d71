from pathlib import Path

import pytest

from coordexp.evaluation.run import evaluate_predictions
from tests.evaluation.conftest import Row, make_row, write_predictions

BOX = (10, 10, 50, 50)


@pytest.mark.parametrize(
    ("row", "empty"),
    [
        (make_row(), 2),  # nothing is true and nothing predicted
        (make_row([("a", BOX)], [("a", BOX, 0.5)]), 1),  # too few to judge the scores
    ],
)
def test_what_was_not_measured_is_not_drawn(tmp_path: Path, row: Row, empty: int) -> None:
    evaluate_predictions(write_predictions(tmp_path / "p.jsonl", [row]), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("nothing to draw") == empty
    assert ("IoU 0.75</span>" in html) == (empty == 1)
