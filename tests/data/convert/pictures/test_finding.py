from pathlib import Path

import pytest
from PIL import Image

from coordexp.data.convert.pictures.finding import (
    FoundPicture,
    check_stated_size,
    find_picture,
    likeliest_folder,
    upright_size,
)
from coordexp.data.convert.pictures.lookup import Lookup
from coordexp.data.convert.reading.shapes import SourcePicture, UnusableError
from coordexp.errors import InputError
from tests.data.convert.sources import write_picture


def named(*names: str, folder: Path) -> SourcePicture:
    return SourcePicture(names=names, folders=(folder,), place="here", shapes=())


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "sub/../../secret.png",
        "..\\secret.png",
        "/etc/passwd",
        "C:\\secret.png",
        "link.png",
        "linked/secret.png",
    ],
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write_picture(tmp_path / "secret.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked").symlink_to(tmp_path)
    with pytest.raises(UnusableError, match="leads out of the folder of the pictures"):
        find_picture(Lookup(root), named(name, folder=root))
    with pytest.raises(UnusableError):
        find_picture(Lookup(root), named(name.swapcase(), folder=root))


@pytest.mark.parametrize("name", ["a\0.png", "\ud800.png", "", " "])
def test_what_is_no_path_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableError, match="a picture name that is no path"):
        find_picture(Lookup(tmp_path), named(name, folder=tmp_path))


def test_a_picture_is_found_under_its_likeliest_name(tmp_path: Path) -> None:
    write_picture(tmp_path / "sub" / "a.png")
    lookup = Lookup(tmp_path)
    found = find_picture(lookup, named("a.jpg", "sub\\..\\sub/a.png", folder=tmp_path))
    assert found == FoundPicture((tmp_path / "sub" / "a.png").resolve())
    absolute = named(str(tmp_path / "sub" / "a.png"), folder=tmp_path)
    assert find_picture(lookup, absolute) == found
    with pytest.raises(UnusableError, match="missing"):
        find_picture(lookup, named("b.png", "sub", "x" * 5000, folder=tmp_path))
    with pytest.raises(UnusableError, match="names no picture"):
        find_picture(lookup, named(folder=tmp_path))


def test_sizes_are_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert upright_size(path) == (20, 30)


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    good = write_picture(path).read_bytes()
    for data in (b"text", good[:20], b"\x89PNG\r\n\x1a\n" + b"\0" * 40):
        path.write_bytes(data)
        with pytest.raises(UnusableError, match="no picture"):
            upright_size(path)
    path.write_bytes(b"")
    with pytest.raises(UnusableError, match="0 bytes"):
        upright_size(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UnusableError, match="Git LFS pointer"):
        upright_size(path)
    path.with_suffix(".heic").write_text("ftypheic")
    with pytest.raises(UnusableError, match="of a format that is not read"):
        upright_size(path.with_suffix(".heic"))


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    header = b"P6\n100000 100000\n255\n"
    (tmp_path / "a.ppm").write_bytes(header)
    with pytest.raises(UnusableError, match=r"larger than Pillow opens \(179 million pixels\)"):
        upright_size(tmp_path / "a.ppm")


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (31, 20, "of another size"),
        (20, 30, "annotated on its side"),
        (-30, 20, "no whole number above 0"),
        ("30", 20, "no whole number above 0"),
        (30.5, 20, "no whole number above 0"),
        (True, 20, "no whole number above 0"),
    ],
)
def test_stated_sizes_are_compared(width: object, height: object, message: str) -> None:
    picture = SourcePicture((), (), "here", (), width=width, height=height)
    with pytest.raises(UnusableError, match=message):
        check_stated_size(picture, (30, 20))


def test_sizes_may_be_unstated_or_floats() -> None:
    check_stated_size(SourcePicture((), (), "here", (), width=30.0), (30, 20))


def test_the_folder_with_most_of_the_pictures_wins(tmp_path: Path) -> None:
    write_picture(tmp_path / "one" / "a.png")
    write_picture(tmp_path / "two" / "a.png")
    write_picture(tmp_path / "two" / "b.png")
    folders = [tmp_path, tmp_path / "one", tmp_path / "two"]
    assert likeliest_folder(folders, ["a.png", "b.png"]) == tmp_path / "two"
    assert likeliest_folder(folders, ["a.png"]) == tmp_path / "one"
    assert likeliest_folder(folders, ["c.png", "../a.png"]) is None


def test_encoded_paths_do_not_lead_out_either(tmp_path: Path) -> None:
    write_picture(tmp_path / "secret.png")
    root = tmp_path / "data"
    root.mkdir()
    for name in ("%2e%2e/secret.png", "..%5Csecret.png", "%2E%2E%2Fsecret.png"):
        with pytest.raises(UnusableError):
            find_picture(Lookup(root), named(name, folder=root))


def test_a_name_without_its_suffix_finds_the_picture_and_refuses_two(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.v1.png")
    assert find_picture(Lookup(tmp_path), named("a.v1", folder=tmp_path)).path == path.resolve()
    write_picture(tmp_path / "a.v1.jpg")
    with pytest.raises(UnusableError, match="fits several files") as caught:
        find_picture(Lookup(tmp_path), named("a.v1", folder=tmp_path))
    assert caught.value.detail == "a.v1.jpg and a.v1.png"


def test_a_path_may_repeat_the_name_of_its_folder(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "Images" / "sub" / "a.png")
    folder = tmp_path / "Images"
    found = find_picture(Lookup(folder), named("images\\sub\\a.png", folder=folder))
    assert found.path == path.resolve()


def test_two_likely_folders_with_different_pictures_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "one" / "a.png")
    write_picture(tmp_path / "two" / "a.png", (9, 9))
    with pytest.raises(InputError, match=r"may be in .*one or in .*two: 'a.png' is in both"):
        likeliest_folder([tmp_path / "one", tmp_path / "two"], ["a.png"])
    assert likeliest_folder([tmp_path / "ONE"], ["A.png"]) == tmp_path / "one"
