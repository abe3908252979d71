from pathlib import Path

import pytest

from coordexp.data.convert.reading.folders import files_below, is_of_split


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_hidden_files_are_passed_over_but_not_a_hidden_root(tmp_path: Path) -> None:
    root = tmp_path / ".cache"
    for name in (".ipynb_checkpoints/a.png", "._a.png", "__MACOSX/a.png", "sub/.x/a.png"):
        touch(root / name)
    touch(root / "b.PNG")
    touch(root / "a.txt")
    assert files_below(root, (".png",)) == [root / "b.PNG"]


@pytest.mark.parametrize(
    ("name", "split", "is_part"),
    [
        ("instances_val2017.json", "val", True),
        ("valid/_annotations.json", "val", True),
        ("val.json", "valid", True),
        ("Validation.JSON", "val", True),
        ("training_set.json", "train", True),
        ("trainval.json", "val", False),
        ("evaluation.json", "val", False),
        ("anything.json", None, True),
    ],
)
def test_a_split_is_a_word_of_the_path(name: str, split: str | None, is_part: bool) -> None:
    assert is_of_split(Path("val", name), Path("val"), split) is is_part
