import json
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.convert.conversion import Conversion, convert_dataset
from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.data.files.category_ids import load_category_ids, save_category_ids
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.prepare import prepare_file
from coordexp.errors import InputError
from tests.data.convert.sources import write_picture


def write_coco(folder: Path, categories: list[dict[str, object]]) -> Path:
    write_picture(folder / "a.png")
    document = {
        "images": [{"id": 5, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 18, "bbox": [1, 2, 3, 4]}],
        "categories": categories,
    }
    (folder / "ann.json").write_text(json.dumps(document))
    return folder / "ann.json"


def convert(source: Path, out: Path) -> None:
    convert_dataset(Conversion(src=source, out=out, choice=KeepRules(), overwrite=True))


def test_converted_and_prepared_records_keep_the_numbers_of_all_classes(tmp_path: Path) -> None:
    names = {"dog": 18, "cat": 17, "yak": 90}
    source = write_coco(tmp_path, [{"id": k, "name": name} for name, k in names.items()])
    convert(source, tmp_path / "v.jsonl")
    prepare_file(
        tmp_path / "v.jsonl", tmp_path / "v.coord.jsonl", PrepareOptions(alphabet=SPEC_ALPHABET)
    )
    assert load_category_ids(tmp_path / "v.jsonl") == names
    assert load_category_ids(tmp_path / "v.coord.jsonl") == names


def test_a_name_with_two_numbers_has_none(tmp_path: Path) -> None:
    rows = [(18, "dog"), (3, "bat"), (4, "bat")]
    source = write_coco(tmp_path, [{"id": number, "name": name} for number, name in rows])
    convert(source, tmp_path / "v.jsonl")
    assert load_category_ids(tmp_path / "v.jsonl") == {"dog": 18}


def test_numbers_of_an_older_file_go(tmp_path: Path) -> None:
    save_category_ids(tmp_path / "v.jsonl", {"cat": 1})
    save_category_ids(tmp_path / "v.jsonl", {})
    assert load_category_ids(tmp_path / "v.jsonl") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "expected class names"),
        ('{"cat": "17"}', "expected class names"),
        ('{"cat": 1, "dog": 1}', "two classes have the same number"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "v.categories.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_category_ids(tmp_path / "v.jsonl")
