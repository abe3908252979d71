import json
from pathlib import Path

from coordexp.data.convert.formats.coco.shape import forget_outlines
from coordexp.data.convert.reading.documents import load_json


def test_outlines_can_be_left_out_where_there_is_a_box(tmp_path: Path) -> None:
    rows = [{"bbox": [1, 2, 3, 4]}, *({"bbox": box} for box in (None, [], [0, 0, 0, 0], [1, 2]))]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{**row, "segmentation": [5]} for row in (*rows, {})]))
    slim = load_json(path, forget=forget_outlines)
    assert isinstance(slim, list)
    assert ["segmentation" in row for row in slim] == [False, True, True, True, True, True]
