"""Parts share no picture, no group, nothing that looks alike; lines are copied as they stand."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.files.category_ids import load_category_ids, save_category_ids
from coordexp.data.files.written_alphabet import load_alphabet, save_alphabet
from coordexp.data.split.parts import Part
from coordexp.data.split.split import SplitOptions, SplitReport, split_file
from coordexp.errors import InputError, RecordError

Row = dict[str, object]
HALVES = (Part("train", 0.5), Part("val", 0.5))


def row(image: str, *descs: str, **more: object) -> Row:
    objects = [{"desc": desc, "bbox_2d": [1, 2, 30, 40]} for desc in descs]
    return {"images": [image], "width": 64, "height": 64, "objects": objects, **more}


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    return path


def split(src: Path, **changes: object) -> SplitReport:
    options = {"parts": HALVES, "seed": 0, "group": None, "alike": None, "overwrite": False}
    return split_file(src, SPEC_ALPHABET, SplitOptions(**{**options, **changes}))  # type: ignore[arg-type]


def lines(report: SplitReport) -> list[list[Row]]:
    return [
        [json.loads(line) for line in part.path.read_text("utf-8").splitlines()]
        for part in report.parts
    ]


def noise(path: Path, seed: int, *, size: int = 64, quality: int | None = None) -> None:
    cells = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC)
    picture.save(path, **({} if quality is None else {"quality": quality}))


def test_lines_are_copied_as_they_stand_and_each_is_in_one_part(tmp_path: Path) -> None:
    src = tmp_path / "all.jsonl"
    texts = [json.dumps(row(f"{k}.png", "cat", own_key=k), separators=(",", ":")) for k in range(9)]
    src.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(texts).encode() + b"\r\n\n")
    report = split(src)
    written = [part.path.read_text("utf-8").splitlines() for part in report.parts]
    assert [part.path.name for part in report.parts] == ["all.train.jsonl", "all.val.jsonl"]
    assert sorted(line for part in written for line in part) == sorted(texts)
    assert sorted(part.lines for part in report.parts) == [4, 5]
    assert (report.lines, report.groups, report.missing()) == (9, 9, {})


def test_records_of_one_picture_stay_together(tmp_path: Path) -> None:
    rows = [row(f"{k % 10}.png", "cat", prompt=f"Which? {k}") for k in range(30)]
    rows += [row("./3.png", "cat")]
    first, second = lines(split(write(tmp_path / "all.jsonl", rows)))
    images = [{Path(str(each["images"][0])).name for each in part} for part in (first, second)]  # type: ignore[index]
    assert not images[0] & images[1]
    assert len(images[0] | images[1]) == 10


def test_groups_stay_together(tmp_path: Path) -> None:
    rows = [row(f"{k}.png", "cat", metadata={"film": k % 7}) for k in range(70)]
    rows += [
        row("alone.png", "cat"),
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
    ]
    report = split(write(tmp_path / "all.jsonl", rows), group="film")
    films = [
        {each["metadata"]["film"] for each in part if "metadata" in each}  # type: ignore[index]
        for part in lines(report)
    ]
    assert not films[0] & films[1]
    assert report.groups == 9


def test_pictures_that_look_alike_stay_together(tmp_path: Path) -> None:
    rows = []
    for seed in range(8):
        noise(tmp_path / f"{seed}.png", seed)
        noise(tmp_path / f"{seed}-again.jpg", seed, quality=30)
        rows += [row(f"{seed}.png", "cat"), row(f"{seed}-again.jpg", "dog")]
    random.Random(0).shuffle(rows)
    report = split(write(tmp_path / "all.jsonl", rows), alike=0.97)
    assert len(report.alike) == 8
    assert all(
        one.partition(".")[0].split("-")[0] == other.partition(".")[0].split("-")[0]
        for one, other in report.alike
    )
    seeds = [{str(each["images"][0])[0] for each in part} for part in lines(report)]  # type: ignore[index]
    assert not seeds[0] & seeds[1]


def test_what_lies_beside_the_records_goes_along(tmp_path: Path) -> None:
    src = write(tmp_path / "all.jsonl", [row(f"{k}.png", "cat") for k in range(4)])
    save_category_ids(src, {"cat": 17, "dog": 18})
    alphabet = CoordAlphabet("<loc{:04d}>", 1024, None)
    save_alphabet(src, alphabet)
    options = SplitOptions(parts=HALVES, seed=0, group=None, alike=None, overwrite=False)
    for part in split_file(src, alphabet, options).parts:
        assert load_category_ids(part.path) == {"cat": 17, "dog": 18}
        assert load_alphabet(part.path) == alphabet


def test_a_class_that_cannot_be_everywhere_is_told(tmp_path: Path) -> None:
    rows = [row(f"{k}.png", "cat") for k in range(9)] + [row("x.png", "yak")]
    report = split(write(tmp_path / "all.jsonl", rows))
    ((name, parts),) = report.missing().items()
    assert name == "yak"
    assert parts in (["all.train.jsonl"], ["all.val.jsonl"])


def test_a_part_without_records_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    src = write(tmp_path / "all.jsonl", [row("a.png", "cat")] * 5)
    with pytest.raises(InputError, match=r"nothing is left for \w+: the lines make 1 group"):
        split(src)
    assert [path.name for path in tmp_path.iterdir()] == ["all.jsonl"]


def test_what_is_there_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    src = write(tmp_path / "all.jsonl", [row(f"{k}.png", "cat") for k in range(4)])
    (tmp_path / "all.val.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"all\.val\.jsonl"):
        split(src)
    assert not (tmp_path / "all.train.jsonl").exists()
    split(src, overwrite=True)


def test_faults_are_named_with_their_line(tmp_path: Path) -> None:
    src = write(tmp_path / "all.jsonl", [row("a.png", "cat"), row("b.png", "cat")])
    with pytest.raises(RecordError, match=r"all\.jsonl:1: images\[0\]: there is no file"):
        split(src, alike=0.97)
    with pytest.raises(InputError, match=r"--group film: no record has metadata\.film"):
        split(src, group="film")
    write(src, [row("a.png", "cat"), row("b.png", "cat", metadata={"film": [1]})])
    with pytest.raises(
        RecordError, match=r"all\.jsonl:2: metadata\.film: expected a text or a number"
    ):
        split(src, group="film")
