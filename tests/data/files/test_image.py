import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from coordexp.data.contract.record import Record
from coordexp.data.files.image import check_image, load_annotated_image, load_image, picture_record
from coordexp.errors import RecordError

RED, GREEN = (255, 0, 0), (0, 255, 0)


def record_of(image: str = "a.png", width: int = 3, height: int = 2) -> Record:
    return Record(images=(image,), width=width, height=height, objects=())


def save(picture: Image.Image, path: Path, **options: object) -> None:
    picture.save(path, **options)  # type: ignore[arg-type]


def refusal(root: Path, record: Record) -> str:
    with pytest.raises(RecordError) as caught:
        load_image(root, record)
    message = str(caught.value)
    assert message.startswith("images[0]: ")
    return message


def test_a_picture_comes_as_rgb(tmp_path: Path) -> None:
    picture = Image.new("RGB", (3, 2), RED)
    picture.putpixel((2, 1), GREEN)
    save(picture, tmp_path / "a.png")
    loaded = load_image(tmp_path, record_of())
    assert (loaded.mode, loaded.size) == ("RGB", (3, 2))
    assert np.array_equal(np.asarray(loaded), np.asarray(picture))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("P", 0, (0, 0, 0)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("I;16", 25700, (100, 100, 100)),
        ("I;16", 65535, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: float, expected: tuple[int, int, int]
) -> None:
    save(Image.new(mode, (3, 2), colour), tmp_path / "a.png")
    loaded = load_image(tmp_path, record_of())
    assert loaded.mode == "RGB"
    assert loaded.getpixel((0, 0)) == expected


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    save(Image.new("CMYK", (3, 2), (0, 255, 255, 0)), tmp_path / "a.tif")
    assert load_image(tmp_path, record_of("a.tif")).getpixel((0, 0)) == RED


def test_transparent_palette_entries_become_white(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 2), 1)
    picture.putpalette([0, 0, 0, *RED])
    picture.putpixel((0, 0), 0)
    save(picture, tmp_path / "a.png", transparency=b"\x00\xff")
    loaded = load_image(tmp_path, record_of())
    assert loaded.getpixel((0, 0)) == (255, 255, 255)
    assert loaded.getpixel((1, 0)) == RED


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_defined_white_are_refused(tmp_path: Path, mode: str) -> None:
    save(Image.new(mode, (3, 2), 1), tmp_path / "a.tif")
    assert "32 bits" in refusal(tmp_path, record_of("a.tif"))


def turned(tmp_path: Path, orientation: int) -> None:
    picture = Image.new("RGB", (3, 2), RED)
    picture.putpixel((0, 0), GREEN)
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(picture, tmp_path / "a.png", exif=exif)


@pytest.mark.parametrize(
    ("orientation", "size", "green_at"),
    [
        (1, (3, 2), (0, 0)),
        (2, (3, 2), (2, 0)),
        (3, (3, 2), (2, 1)),
        (4, (3, 2), (0, 1)),
        (5, (2, 3), (0, 0)),
        (6, (2, 3), (1, 0)),
        (7, (2, 3), (1, 2)),
        (8, (2, 3), (0, 2)),
        (99, (3, 2), (0, 0)),
    ],
)
def test_a_picture_is_turned_upright(
    tmp_path: Path, orientation: int, size: tuple[int, int], green_at: tuple[int, int]
) -> None:
    turned(tmp_path, orientation)
    loaded = load_image(tmp_path, record_of("a.png", *size))
    assert loaded.size == size
    assert loaded.getpixel(green_at) == GREEN


def test_an_orientation_behind_the_pixels_of_a_png_counts_too(tmp_path: Path) -> None:
    turned(tmp_path, 6)
    data = (tmp_path / "a.png").read_bytes()
    start = data.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4])
    end = data.index(b"IEND") - 4
    moved = data[:start] + data[stop:end] + data[start:stop] + data[end:]
    (tmp_path / "a.png").write_bytes(moved)
    check_image(tmp_path, record_of("a.png", 2, 3))
    assert load_image(tmp_path, record_of("a.png", 2, 3)).getpixel((1, 0)) == GREEN


def test_a_check_leaves_the_pixels_of_a_png_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(Image.new("RGB", (3, 2), RED), tmp_path / "a.png")
    monkeypatch.delattr("PIL.ImageFile.ImageFile.load")
    check_image(tmp_path, record_of())


def test_a_size_that_refers_to_the_lying_picture_is_refused(tmp_path: Path) -> None:
    turned(tmp_path, 6)
    message = refusal(tmp_path, record_of())
    assert "has 2x3 pixels upright (EXIF orientation 6), the record says 3x2" in message


def test_the_size_is_checked_before_pixels_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"P6 4 2 255\n")  # a header, and no pixels
    assert "'a.png' has 4x2 pixels, the record says 3x2" in refusal(tmp_path, record_of())
    (tmp_path / "a.png").write_bytes(b"P6 20000 15000 255\n")
    assert "decompression bomb" in refusal(tmp_path, record_of())


def test_a_large_picture_that_the_record_announces_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(Image.new("RGB", (3, 2)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert load_image(tmp_path, record_of()).size == (3, 2)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("none.png", "folder", "loop", "x" * 5000):
        assert "there is no file" in refusal(tmp_path, record_of(name))


def test_nothing_outside_the_dataset_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    save(Image.new("RGB", (3, 2)), tmp_path / "a.png")
    (root / "link.png").symlink_to("../a.png")
    (root / "up").symlink_to("..")
    for name in ("../a.png", "link.png", "up/a.png", str(tmp_path / "a.png")):
        assert "climbs out of the dataset" in refusal(root, record_of(name))


def test_links_inside_and_to_the_dataset_are_fine(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    save(Image.new("RGB", (3, 2)), root / "a.png")
    (root / "b.png").symlink_to("a.png")
    (tmp_path / "alias").symlink_to("data")
    assert load_image(tmp_path / "alias", record_of("b.png")).size == (3, 2)


def encoded(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused(tmp_path: Path, kind: str) -> None:
    whole = encoded(kind)
    path = tmp_path / "a.png"
    # The last bytes of a PNG are its end chunk: without it every pixel is there.
    for length in range(0, len(whole) - 16, 7):
        path.write_bytes(whole[:length])
        assert "cannot be read as a picture" in refusal(tmp_path, record_of())
        with pytest.raises(RecordError, match="cannot be read as a picture"):
            check_image(tmp_path, record_of())


KINDS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", *["AVIF"] * features.check("avif")]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_picture_or_a_record_error(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    damaged = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.png").write_bytes(damaged)
    try:
        load_image(tmp_path, record_of())
    except RecordError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_a_check_agrees_with_loading_and_leaves_whole_pictures_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("GIF", "TIFF"):  # the formats without a known end are decoded
        (tmp_path / "a.png").write_bytes(encoded(kind))
        check_image(tmp_path, record_of())
    with pytest.raises(RecordError, match="the record says 4x2"):
        check_image(tmp_path, record_of(width=4))
    with pytest.raises(RecordError, match="there is no file"):
        check_image(tmp_path, record_of("b.png"))
    monkeypatch.delattr("coordexp.data.files.image.load_image")
    for kind in ("PNG", "JPEG"):
        (tmp_path / "a.png").write_bytes(encoded(kind))
        check_image(tmp_path, record_of())


def test_a_resized_picture_has_the_size_that_the_record_gives_its_file(tmp_path: Path) -> None:
    save(Image.new("RGB", (6, 4), RED), tmp_path / "a.png")
    record = Record(images=("a.png",), width=3, height=2, objects=(), resized=(6, 4))
    assert load_image(tmp_path, record).size == (6, 4)
    check_image(tmp_path, record)
    drawn_on = load_annotated_image(tmp_path, record)
    assert (drawn_on.size, drawn_on.getpixel((2, 1))) == ((3, 2), RED)
    wrong = Record(images=("a.png",), width=6, height=4, objects=(), resized=(3, 2))
    assert "has 6x4 pixels, the record says 3x2" in refusal(tmp_path, wrong)


def test_a_picture_that_no_record_describes_is_measured(tmp_path: Path) -> None:
    turned(tmp_path, 6)
    assert picture_record(tmp_path, "a.png") == record_of("a.png", 2, 3)
    (tmp_path / "bomb.png").write_bytes(b"P6 20000 15000 255\n")
    for name, message in (("bomb.png", "decompression bomb"), ("none.png", "there is no file")):
        with pytest.raises(RecordError, match=message):
            picture_record(tmp_path, name)
