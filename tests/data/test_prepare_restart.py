"""Resized pictures, many workers, kills: the same bytes in the end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_annotated_image, load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.files.sharding import run_in_order
from coordexp.data.prepare import one_shard as prepare_shard
from coordexp.data.prepare import prepare
from coordexp.data.prepare.counts import PreparedCounts
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.prepare import prepare_file
from coordexp.data.prepare.selection import Selection
from coordexp.errors import CoordExpError, InputError, RecordError
from coordexp.families.picture_grid import smart_resize
from coordexp.families.qwen3_vl.family import QWEN3_VL

GRID = QWEN3_VL.grid.limited(least=32 * 32, most=64 * 96)
TOKENISE = PrepareOptions(alphabet=SPEC_ALPHABET)
RESIZE = replace(TOKENISE, grid=GRID)


def write_dataset(folder: Path, count: int, *, mode: str = "RGB") -> Path:
    (folder / "img").mkdir(parents=True)
    path = folder / "raw.jsonl"
    with path.open("w") as file:
        for number in range(count):
            width, height = 100 + number % 7, 80 + number % 5
            picture = Image.effect_noise((width, height), 50).convert(mode)
            name = f"img/{number}.{'jpg' if number % 2 else 'png'}"
            picture.save(folder / name)
            box = {"desc": "cat", "bbox_2d": [1, 2.25, width, height]}
            row = {"images": [name], "width": width, "height": height, "objects": [box]}
            file.write(json.dumps(row) + "\n")
    return path


def fingerprint(folder: Path) -> dict[str, str]:
    """The content of every file, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "SHARD_LINES", 3)
    monkeypatch.setattr(prepare, "SHARD_PICTURES", 3)


def test_pictures_are_resized_and_everything_else_stays_the_originals(tmp_path: Path) -> None:
    src = write_dataset(tmp_path, 2)
    counts = prepare_file(src, tmp_path / "train.jsonl", RESIZE)
    assert counts.pictures == {"resized": 2}
    before, after = (
        RecordFile(src, SPEC_ALPHABET),
        RecordFile(tmp_path / "train.jsonl", SPEC_ALPHABET),
    )
    for old, new in zip(before, after, strict=True):
        size = smart_resize(old.width, old.height, GRID)
        assert (new.width, new.height, new.resized) == (old.width, old.height, size)
        assert new.objects[0].exact == old.objects[0].geometry
        assert new.objects[0].geometry.values[2:] == (999, 999)
        assert new.image == f"train_images/{old.image}"
        assert load_image(after.root, new).size == size
        assert load_annotated_image(after.root, new).size == (old.width, old.height)


def test_tokens_do_not_depend_on_resizing(tmp_path: Path) -> None:
    src = write_dataset(tmp_path, 3)
    prepare_file(src, tmp_path / "same.jsonl", TOKENISE)
    prepare_file(src, tmp_path / "small.jsonl", RESIZE)
    same, small = (
        RecordFile(tmp_path / "same.jsonl", SPEC_ALPHABET),
        RecordFile(tmp_path / "small.jsonl", SPEC_ALPHABET),
    )
    assert [record.objects for record in same] == [record.objects for record in small]


def test_a_picture_of_the_right_size_is_copied_byte_by_byte(tmp_path: Path) -> None:
    Image.effect_noise((64, 32), 50).convert("RGB").save(tmp_path / "a.jpg", quality=40)
    row = {"images": ["a.jpg"], "width": 64, "height": 32, "objects": []}
    (tmp_path / "raw.jsonl").write_text(2 * (json.dumps(row) + "\n"))
    counts = prepare_file(tmp_path / "raw.jsonl", tmp_path / "out.jsonl", RESIZE)
    assert counts.pictures == {"copied": 1, "there already": 1}
    copy = (tmp_path / "out_images" / "a.jpg").read_bytes()
    assert copy == (tmp_path / "a.jpg").read_bytes()
    assert RecordFile(tmp_path / "out.jsonl", SPEC_ALPHABET)[1].resized is None


@pytest.mark.parametrize(
    ("mode", "suffix", "written", "change"),
    [
        ("CMYK", "jpg", "a.jpg", "from CMYK pixels to RGB"),
        ("I;16", "png", "a.png", "from I;16 pixels to RGB"),
        ("P", "png", "a.png", "from P pixels to RGB"),
        ("RGBA", "png", "a.png", "from RGBA pixels to RGB"),
        ("RGB", "webp", "a.webp.png", "from WEBP to PNG"),
    ],
)
def test_every_kind_of_picture_becomes_plain(
    tmp_path: Path, mode: str, suffix: str, written: str, change: str
) -> None:
    Image.new(mode, (64, 64)).save(tmp_path / f"a.{suffix}")
    row = {"images": [f"a.{suffix}"], "width": 64, "height": 64, "objects": []}
    (tmp_path / "raw.jsonl").write_text(json.dumps(row))
    counts = prepare_file(tmp_path / "raw.jsonl", tmp_path / "out.jsonl", RESIZE)
    assert counts.pictures == {"resized": 1, change: 1}
    with Image.open(tmp_path / "out_images" / written) as picture:
        assert (picture.mode, picture.size) == ("RGB", (64, 64))


def test_a_turned_picture_is_written_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save(tmp_path / "a.jpg", exif=exif)
    row = {"images": ["a.jpg"], "width": 32, "height": 64, "objects": []}
    (tmp_path / "raw.jsonl").write_text(json.dumps(row))
    counts = prepare_file(tmp_path / "raw.jsonl", tmp_path / "out.jsonl", RESIZE)
    assert counts.pictures["turned upright (EXIF)"] == 1
    with Image.open(tmp_path / "out_images" / "a.jpg") as picture:
        assert picture.size == (32, 64)
        assert not picture.getexif()


@pytest.mark.parametrize("size", [(64, 64), (300, 200)])
def test_names_at_the_limit_of_the_file_system_are_written(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    names = ["n" * 240 + ".png", "\u00e9" * 125 + ".jpg", "m" * 251 + ".png"]
    rows = [
        {"images": [name], "width": size[0], "height": size[1], "objects": []} for name in names
    ]
    for name in names:
        Image.new("RGB", size).save(tmp_path / name)
    (tmp_path / "raw.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepare_file(tmp_path / "raw.jsonl", tmp_path / "out.jsonl", RESIZE)
    assert {path.name for path in (tmp_path / "out_images").iterdir()} == {*names}
    long = tmp_path / f"{'o' * 244}.jsonl"
    prepare_file(tmp_path / "raw.jsonl", long, TOKENISE)
    assert len([*RecordFile(long, SPEC_ALPHABET)]) == 3
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".partial", ".work")]


def test_a_name_too_long_for_another_suffix_is_told(tmp_path: Path) -> None:
    name = "n" * 250 + ".bmp"
    Image.new("RGB", (64, 64)).save(tmp_path / name)
    row = {"images": [name], "width": 64, "height": 64, "objects": []}
    (tmp_path / "raw.jsonl").write_text(json.dumps(row))
    with pytest.raises(RecordError, match="as PNG, for which its name is too long"):
        prepare_file(tmp_path / "raw.jsonl", tmp_path / "out.jsonl", RESIZE)


def test_two_pictures_that_would_get_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.webp", "a.webp.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    row = {"images": ["a.webp"], "width": 64, "height": 64, "objects": []}
    (tmp_path / "raw.jsonl").write_text(json.dumps(row))
    with pytest.raises(RecordError, match=r"would be written as a\.webp\.png, which stands"):
        prepare_file(tmp_path / "raw.jsonl", tmp_path / "out.jsonl", RESIZE)


def test_pictures_are_resized_once_and_from_the_original(tmp_path: Path) -> None:
    src = write_dataset(tmp_path, 1)
    prepare_file(src, tmp_path / "once.jsonl", RESIZE)
    with pytest.raises(RecordError, match=r"once\.jsonl:1: resized: .*start from the original"):
        prepare_file(tmp_path / "once.jsonl", tmp_path / "twice.jsonl", RESIZE)


def test_what_is_there_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    src, dst = write_dataset(tmp_path, 2), tmp_path / "out.jsonl"
    prepare_file(src, dst, RESIZE)
    before = dst.read_bytes()
    for grid in (GRID, None):
        with pytest.raises(InputError, match=r"out\.jsonl: exists already; .*--overwrite"):
            prepare_file(src, dst, replace(TOKENISE, grid=grid))
    (tmp_path / "out_images" / "old.png").write_bytes(b"")
    prepare_file(src, dst, replace(RESIZE, overwrite=True))
    assert dst.read_bytes() == before
    assert not (tmp_path / "out_images" / "old.png").exists()
    assert not (tmp_path / "out.jsonl.work").exists()


def test_pictures_that_are_read_from_are_not_replaced(tmp_path: Path) -> None:
    src, dst = write_dataset(tmp_path, 2), tmp_path / "out.jsonl"
    prepare_file(src, dst, RESIZE)
    dst.unlink()
    row = json.loads(src.read_text().splitlines()[0])
    (tmp_path / "out_images" / "a.png").write_bytes((tmp_path / row["images"][0]).read_bytes())
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({**row, "images": ["out_images/a.png"]}))
    with pytest.raises(InputError, match=r"other\.jsonl:1: its picture lies in .*out_images"):
        prepare_file(other, dst, replace(RESIZE, overwrite=True))
    assert (tmp_path / "out_images" / "a.png").exists()


def test_a_folder_of_pictures_is_not_overwritten_unasked(tmp_path: Path) -> None:
    src = write_dataset(tmp_path, 1)
    (tmp_path / "train_images").mkdir()
    with pytest.raises(InputError, match="train_images: exists already; remove it"):
        prepare_file(src, tmp_path / "train.jsonl", RESIZE)
    (tmp_path / "out.jsonl.work").mkdir()
    with pytest.raises(InputError, match=r"out\.jsonl\.work: is needed for work in progress"):
        prepare_file(src, tmp_path / "out.jsonl", TOKENISE)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path, short_shards: None) -> None:  # noqa: ARG001
    results = []
    src = write_dataset(tmp_path / "data", 14)
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        progress: list[int] = []
        prepare_file(
            src, folder / "t.jsonl", replace(RESIZE, workers=workers), progress=progress.append
        )
        assert sum(progress) == src.stat().st_size
        assert len(progress) == 5
        results.append(fingerprint(folder))
    assert results[0] == results[1]
    assert len(results[0]) == 15


class KilledError(Exception):
    pass


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Number of pictures after which writing one fails, as if by a kill; empty for never."""
    left: list[int] = []
    write_resized = prepare_shard.write_resized

    def write(*arguments: object) -> object:
        if left:
            if not left[0]:
                raise KilledError
            left[0] -= 1
        return write_resized(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare_shard, "write_resized", write)
    yield left
    left.clear()


@pytest.mark.usefixtures("short_shards")
@pytest.mark.parametrize("pictures", [0, 2, 3, 7])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    tmp_path: Path, killed_at: list[int], pictures: int
) -> None:
    src = write_dataset(tmp_path / "data", 8)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    expected = prepare_file(src, tmp_path / "whole" / "t.jsonl", RESIZE)
    killed_at.append(pictures)
    dst = tmp_path / "stopped" / "t.jsonl"
    with pytest.raises(KilledError):
        prepare_file(src, dst, RESIZE)
    assert not dst.exists()
    assert (tmp_path / "stopped" / "t.jsonl.work").exists() == (pictures >= 3)
    # Finished shards are kept, a half one is redone: so many pictures are enough.
    killed_at[0] = 8 - pictures // 3 * 3
    counts = prepare_file(src, dst, RESIZE)
    assert (counts.read, counts.objects) == (expected.read, expected.objects)
    assert fingerprint(dst.parent) == fingerprint(tmp_path / "whole")


@pytest.mark.usefixtures("short_shards")
def test_other_settings_take_nothing_from_a_stopped_run(
    tmp_path: Path, killed_at: list[int]
) -> None:
    src = write_dataset(tmp_path, 5)
    killed_at.append(4)
    with pytest.raises(KilledError):
        prepare_file(src, tmp_path / "t.jsonl", RESIZE)
    killed_at.clear()
    grid = QWEN3_VL.grid.limited(least=32 * 32, most=32 * 32)
    prepare_file(src, tmp_path / "t.jsonl", replace(TOKENISE, grid=grid))
    assert {record.resized for record in RecordFile(tmp_path / "t.jsonl", SPEC_ALPHABET)} == {
        (32, 32)
    }
    assert not (tmp_path / "t.jsonl.work").exists()


@pytest.mark.usefixtures("short_shards")
def test_a_kill_while_the_output_is_delivered_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = write_dataset(tmp_path / "data", 4)
    dst = tmp_path / "t.jsonl"

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("coordexp.data.prepare.prepare.shutil.rmtree", killed)
        with pytest.raises(KilledError):
            prepare_file(src, dst, RESIZE)
    dst.unlink()  # as if it had been stopped one step before
    counts = prepare_file(src, dst, RESIZE)
    assert counts.records == len(RecordFile(dst, SPEC_ALPHABET)) == 4
    assert not (tmp_path / "t.jsonl.work").exists()


KILLED_RUN = """
import sys
from pathlib import Path
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.prepare import prepare
from coordexp.data.prepare.options import PrepareOptions
prepare.SHARD_PICTURES = 3
from coordexp.families.qwen3_vl.family import QWEN3_VL
if __name__ == "__main__":
    src, dst = map(Path, sys.argv[1:])
    grid = QWEN3_VL.grid.limited(least=32 * 32, most=64 * 96)
    options = PrepareOptions(alphabet=SPEC_ALPHABET, grid=grid, workers=2)
    prepare.prepare_file(src, dst, options)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("short_shards")
def test_a_run_with_workers_survives_a_kill_and_leaves_no_process(tmp_path: Path) -> None:
    src = write_dataset(tmp_path / "data", 200)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    prepare_file(src, tmp_path / "whole" / "t.jsonl", RESIZE)
    script, dst = tmp_path / "run.py", tmp_path / "killed" / "t.jsonl"
    script.write_text(KILLED_RUN)
    with subprocess.Popen([sys.executable, str(script), str(src), str(dst)]) as run:
        work = dst.with_name("t.jsonl.work")
        while run.poll() is None and len([*work.glob("*.json")]) < 3:
            time.sleep(0.01)
        children = children_of(run.pid)
        run.send_signal(signal.SIGKILL)
    assert children
    assert not dst.exists()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    prepare_file(src, dst, RESIZE)
    assert fingerprint(dst.parent) == fingerprint(tmp_path / "whole")


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_failure_in_words() -> None:
    with pytest.raises(CoordExpError, match=r"a worker was killed.*what is finished is kept"):
        list(run_in_order(os._exit, [3], workers=2))


def test_broken_records_and_pictures_are_counted_on_demand(tmp_path: Path) -> None:
    src = write_dataset(tmp_path, 4)
    lines = src.read_text().splitlines()
    (tmp_path / "img" / "1.jpg").write_bytes(b"no picture")
    src.write_text("\n".join([lines[0], lines[1], "{}", lines[3]]))
    dst = tmp_path / "t.jsonl"
    with pytest.raises(RecordError, match=r"raw\.jsonl:2: .*cannot be read as a picture"):
        prepare_file(src, dst, RESIZE)
    counts = prepare_file(src, dst, replace(RESIZE, drop_bad=True))
    assert (counts.read, counts.records) == (4, 2)
    assert counts.left_out == {"broken record or picture": 2}
    assert [message.split(": ")[0] for message in counts.dropped] == [f"{src}:2", f"{src}:3"]


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    src = write_dataset(tmp_path, 5)
    crowd = json.loads(src.read_text().splitlines()[0])
    crowd["objects"] *= 2
    src.write_text(src.read_text() + json.dumps(crowd))
    counts = prepare_file(
        src, tmp_path / "t.jsonl", replace(TOKENISE, selection=Selection(tiny=2, max_objects=1))
    )
    assert counts.left_out == {"outside the tiny sample": 3, "more than 1 objects": 1}
    assert len(RecordFile(tmp_path / "t.jsonl", SPEC_ALPHABET)) == counts.records == 2


def test_a_file_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    src, dst = write_dataset(tmp_path, 2), tmp_path / "t.jsonl"
    src.write_text("{}\n{}")
    with pytest.raises(
        InputError, match=r"no record is left \(2 broken .*\)\n.*raw\.jsonl:1: images"
    ):
        prepare_file(src, dst, replace(TOKENISE, drop_bad=True))
    src.write_text("\n")
    with pytest.raises(InputError, match="the file is empty"):
        prepare_file(src, dst, TOKENISE)
    assert not dst.exists()


def test_what_is_odd_is_kept_and_counted(tmp_path: Path) -> None:
    eight = {"desc": "bow", "poly": [0, 0, 9, 9, 9, 0, 0, 9], "colour": 0}
    row = {"images": ["a.png"], "width": 9, "height": 9, "id": 3, "objects": [eight]}
    extras = {"prompt": "find", "summary": "a bow", "metadata": {"source": [1]}}
    (tmp_path / "raw.jsonl").write_text(json.dumps({**row, **extras}))
    counts = prepare_file(tmp_path / "raw.jsonl", tmp_path / "t.jsonl", TOKENISE)
    assert counts == PreparedCounts(
        read=1, records=1, objects=1, crossing=1, unknown_keys={"id": 1, "objects[].colour": 1}
    )
    (written,) = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert {key: written[key] for key in extras} == extras
    assert not {"id", "colour"} & {*written, *written["objects"][0]}
