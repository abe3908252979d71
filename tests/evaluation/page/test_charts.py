import html
import re
from pathlib import Path

import pytest

from coordexp.evaluation.evaluate import evaluate_predictions
from tests.evaluation.conftest import Row, make_row, write_predictions

BOX = (10, 10, 50, 50)


@pytest.mark.parametrize(
    ("row", "empty"),
    [
        (make_row(), 3),  # nothing is true and nothing predicted
        (make_row([("a", BOX)], [("a", BOX, 0.5)]), 3),  # too few to judge the scores, one cut
    ],
)
def test_what_was_not_measured_is_not_drawn(tmp_path: Path, row: Row, empty: int) -> None:
    evaluate_predictions(write_predictions(tmp_path / "p.jsonl", [row]), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("nothing to draw") == empty
    assert ("IoU 0.75</span>" in html) == bool(row["gt"])


def confusion_table(page: str) -> tuple[list[str], dict[str, list[int]]]:
    table = html.unescape(page.partition('<table class="heat">')[2].partition("</table>")[0])
    head, body = table.split("</thead>")
    rows = {
        re.findall(r"<span>(.*?)</span>", row)[0]: [
            int(cell or 0) for cell in re.findall(r"<td[^>]*>(\d*)</td>", row)
        ]
        for row in body.split("</tr>")[:-1]
    }
    return re.findall(r"<span>(.*?)</span>", head)[1:], rows


def called(truth: str, said: str | None, place: int) -> Row:
    pred = [] if said is None else [(said, BOX, 0.5)]
    return make_row([(truth, BOX)], pred, image=f"{place}.png")


def test_every_true_object_has_its_place_in_the_confusions(tmp_path: Path) -> None:
    # Twenty classes are each taken for one of two that are never right; two more are only found,
    # and one is taken for another that is shown, one is lost, one is called what no truth is.
    pairs: list[tuple[str, str | None]] = [(f"c{n:02}", f"c{n:02}") for n in range(22)]
    pairs += [(f"c{n:02}", f"c{(n + 1) % 20:02}") for n in range(20)] * 2
    pairs += [("c21", "c00"), ("c21", "c20"), ("c20", None), ("c20", "yak"), ("c03", "c21")]
    rows = [called(truth, said, place) for place, (truth, said) in enumerate(pairs)]
    evaluate_predictions(write_predictions(tmp_path / "p.jsonl", rows), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    columns, table = confusion_table(page)
    names = [f"c{n:02}" for n in range(20)]
    assert "the 20 most confused of 22 classes" in page
    assert (columns, list(table)) == ([*names, "others", "no class", "missed"], [*names, "others"])
    assert table["c00"] == [1, 2, *[0] * 21]
    assert table["c03"] == [0, 0, 0, 1, 2, *[0] * 15, 1, 0, 0]
    # c20 and c21 found, c21 taken for c20; c21 taken for c00; c20 called a yak, and lost.
    assert table["others"] == [1, *[0] * 19, 3, 1, 1]
    assert sum(map(sum, table.values())) == len(pairs)


def test_few_classes_are_all_shown_and_there_are_no_others(tmp_path: Path) -> None:
    rows = [called("others", "others", 0), called("others", "cat", 1), called("cat", None, 2)]
    evaluate_predictions(write_predictions(tmp_path / "p.jsonl", rows), tmp_path)
    columns, table = confusion_table((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert columns == ["cat", "others", "no class", "missed"]
    assert table == {"cat": [0, 0, 0, 1], "others": [1, 1, 0, 0]}
