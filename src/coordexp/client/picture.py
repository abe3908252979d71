"""What is sent of a picture: itself, at the size at which the model looks at it.

The server would resize it just so. Done here, less is sent, and a server that was started with
other limits, or resizes with another library, sees the same pixels as `coordexp predict`.
"""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from coordexp.data.contract.record import Record
from coordexp.data.files.image import decode_image, load_image, picture_record
from coordexp.families.picture_grid import PictureGrid, smart_resize

Picture = Path | str | bytes | Image.Image


def open_picture(image: Picture) -> tuple[Record, Image.Image]:
    """Return a picture upright in RGB, and a record of it without objects.

    Args:
        image: A file, the content of one, or an upright picture.

    Raises:
        RecordError: If it cannot be read.
    """
    if isinstance(image, (str, Path)):
        path = Path(image)
        record = picture_record(path.parent, path.name)
        return record, load_image(path.parent, record)
    picture = decode_image(image) if isinstance(image, bytes) else image.convert("RGB")
    width, height = picture.size
    return Record(images=("picture",), width=width, height=height, objects=()), picture


def fit_picture(picture: Image.Image, grid: PictureGrid) -> Image.Image:
    """Return a picture at the size at which a model looks at it.

    Raises:
        RecordError: If it is too thin to be looked at.
    """
    size = smart_resize(*picture.size, grid)
    # Between limits that lie close together a size can be none that stays: the server resizes then.
    if size == picture.size or smart_resize(*size, grid) != size:
        return picture
    return picture.resize(size, Image.Resampling.BICUBIC)


def picture_url(picture: Image.Image) -> str:
    """Return a picture as a `data:` URL, without any loss."""
    file = BytesIO()
    # Level 1: the bytes go to the next machine, and packing them harder takes longer than that.
    picture.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
