import unicodedata
from pathlib import Path

import pytest

from coordexp.data.convert.pictures.lookup import Lookup, Match

CAFE = unicodedata.normalize("NFC", "caf\u00e9 1.png")


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path.resolve()


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("images/a.png", "images/a.png "),
        ("images/a.png", " images/a.png\t"),
        ("images/a.png", "./Images/A.PNG"),
        ("images/a b.png", "images/a%20b.png"),
        ("images/a%20b.png", "images/a b.png"),
        ("images/a.png", "images%2Fa.png"),
        ("images/a.png", "IMAGES%5Ca.png"),
        (f"images/{CAFE}", "images/" + unicodedata.normalize("NFD", CAFE)),
        ("images/" + unicodedata.normalize("NFD", CAFE), f"images/{CAFE}"),
        (f"images/{CAFE}", "Images\\" + unicodedata.normalize("NFD", CAFE).replace(" ", "%20")),
        ("images/100%.png", "images/100%.PNG"),
    ],
)
def test_other_spellings_fit(tmp_path: Path, there: str, name: str) -> None:
    path = touch(tmp_path / there)
    assert Lookup(tmp_path).find(tmp_path, name) == Match((path,), exact=False)


@pytest.mark.parametrize("name", ["images/a.png", "images\\a.png", "./images/../images//a.png"])
def test_the_name_as_it_is_comes_first(tmp_path: Path, name: str) -> None:
    path = touch(tmp_path / "images" / "a.png")
    touch(tmp_path / "images" / "A.png")
    touch(tmp_path / "Images" / "a.png")
    assert Lookup(tmp_path).find(tmp_path, name) == Match((path,))


def test_a_file_with_backslashes_in_its_name_is_found(tmp_path: Path) -> None:
    path = touch(tmp_path / "images\\a.png")  # as some programs unpack archives of Windows
    assert Lookup(tmp_path).find(tmp_path, "images\\a.png").paths == (path,)


def test_all_files_that_fit_are_returned_and_letter_case_counts_last(tmp_path: Path) -> None:
    upper, lower = touch(tmp_path / "A b.png"), touch(tmp_path / "a B.png")
    lookup = Lookup(tmp_path)
    assert lookup.find(tmp_path, "a b.png").paths == (upper, lower)
    assert lookup.find(tmp_path, "A%20b.png").paths == (upper,)
