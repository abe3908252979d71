"""A format is one module: the one in `docs/add-a-format.md`, put into the folder of formats."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coordexp.cli import data_convert as command
from coordexp.data.convert import formats
from coordexp.errors import InputError
from tests.data.convert.sources import (
    coco_document,
    convert,
    write_coco,
    write_picture,
)

PAGE = (Path(__file__).parents[4] / "docs" / "add-a-format.md").read_text("utf-8")
(MODULE,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HEADER = "file,class,x1,y1,x2,y2\n"


@pytest.fixture(autouse=True)
def _known(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("formats")
    (folder / "csv.py").write_text(MODULE)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    monkeypatch.setitem(sys.modules, f"{formats.__name__}.csv", None)
    monkeypatch.delitem(sys.modules, f"{formats.__name__}.csv")


def write_csv(folder: Path, *lines: str) -> Path:
    write_picture(folder / "a.png")
    (folder / "train.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return folder / "train.csv"


@pytest.mark.parametrize("named", [{}, {"kind": "csv"}])
@pytest.mark.parametrize("whole", [True, False])
def test_it_is_found_and_read(tmp_path: Path, *, whole: bool, named: dict[str, str]) -> None:
    src = write_csv(tmp_path, "a.png,cat,1,2,3.5,4", "a.png,dog,9,9,1,1", "a.png,dog,0,0,9,9")
    done = convert(tmp_path if whole else src, tmp_path / "out.jsonl", **named)
    assert done.kind == "csv"
    assert done.things == [[("cat", (1, 2, 3.5, 4)), ("dog", (0, 0, 9, 9))]]
    assert done.counts["dropped: a line that is no box"] == 1


def test_its_files_have_splits(tmp_path: Path) -> None:
    write_csv(tmp_path, "a.png,cat,1,2,3,4")
    (tmp_path / "val.csv").write_text(HEADER + "a.png,dog,1,2,3,4\n")
    assert convert(tmp_path, tmp_path / "out.jsonl", split="valid").things[0][0][0] == "dog"
    with pytest.raises(InputError, match=r"several annotation files: train\.csv, val\.csv"):
        convert(tmp_path, tmp_path / "other.jsonl")


def test_help_and_errors_list_it(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(importlib.reload(command).data_convert)
    offered = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert "[coco|csv|cvat|labelme|lvis|odvg|voc|yolo]" in offered.stdout
    (tmp_path / "a.zip").touch()
    (tmp_path / "b.csv").write_text("a,b\n")
    for src, kind, message in (
        (tmp_path, None, "found no COCO, CSV, CVAT, LVIS, ODVG, VOC, YOLO or labelme annotations"),
        (tmp_path / "a.zip", None, r"expected \.csv \(CSV\), \.json \(COCO, LVIS, labelme\), "),
        (tmp_path / "b.csv", None, "expected CSV: the columns file, class, x1, y1, x2, y2$"),
        (
            tmp_path,
            "tsv",
            "--format: there is no format 'tsv'; known formats are coco, csv, cvat, labelme",
        ),
    ):
        with pytest.raises(InputError, match=message):
            convert(src, tmp_path / "out.jsonl", kind=kind)


def test_it_is_told_from_others_in_its_folder(tmp_path: Path) -> None:
    write_csv(tmp_path, "a.png,cat,1,2,3,4")
    write_coco(tmp_path, coco_document({"bbox": [1, 1, 3, 3]}))
    message = r"holds several formats \(csv, coco or lvis\); choose one with --format"
    with pytest.raises(InputError, match=message):
        convert(tmp_path, tmp_path / "out.jsonl")
    assert convert(tmp_path, tmp_path / "csv.jsonl", kind="csv").kind == "csv"
    assert convert(tmp_path, tmp_path / "coco.jsonl", kind="coco").kind == "coco"


def test_a_file_that_fits_two_formats_has_to_be_named(tmp_path: Path) -> None:
    document = {"annotations": [{"note": "x" * 200_000}], "images": [], "shapes": []}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"info": "x" * 70_000, **document}))
    with pytest.raises(InputError, match=r"looks like several formats \(coco, labelme\)"):
        convert(path, tmp_path / "out.jsonl")


def test_formats_are_called_like_their_modules() -> None:
    """The command line lists modules: it has no time to import them."""
    assert sorted(item.name for item in formats.load_formats()) == formats.format_names()
