from pathlib import Path

import pytest
from PIL import Image

from coordexp.data.convert.pictures import (
    check_stated_size,
    find_picture,
    likeliest_folder,
    upright_size,
)
from coordexp.data.convert.source import SourcePicture, UnusableError
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
        "a\0.png",
        "\ud800.png",
        "",
    ],
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write_picture(tmp_path / "secret.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked").symlink_to(tmp_path)
    with pytest.raises(UnusableError, match="leads out of the folder of the pictures"):
        find_picture(root, named(name, folder=root))


def test_a_picture_is_found_under_its_likeliest_name(tmp_path: Path) -> None:
    write_picture(tmp_path / "sub" / "a.png")
    found = find_picture(tmp_path, named("a.jpg", "sub\\..\\sub/a.png", folder=tmp_path))
    assert found == (tmp_path / "sub" / "a.png").resolve()
    with pytest.raises(UnusableError, match="missing"):
        find_picture(tmp_path, named("b.png", "sub", "x" * 5000, folder=tmp_path))
    with pytest.raises(UnusableError, match="missing"):
        find_picture(tmp_path, named(folder=tmp_path))


def test_sizes_are_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert upright_size(path) == (20, 30)


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    good = write_picture(path).read_bytes()
    for data in (b"", b"text", good[:20], b"\x89PNG\r\n\x1a\n" + b"\0" * 40):
        path.write_bytes(data)
        with pytest.raises(UnusableError, match="no picture"):
            upright_size(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    header = b"P6\n100000 100000\n255\n"
    (tmp_path / "a.ppm").write_bytes(header)
    with pytest.raises(UnusableError, match="no picture"):
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
