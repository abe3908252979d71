"""Where records find their pictures: where they are, or copied beside the records."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordexp.data.convert.pictures.embedded import UnpackedPicture
from coordexp.data.convert.pictures.finding import FoundPicture
from coordexp.errors import InputError
from coordexp.files import whole_directory


class InPlace:
    """Records name the pictures where they are."""

    unpacks = False

    def __init__(self, out: Path) -> None:
        self.home = Path(os.path.realpath(out.parent))

    def name_of(self, picture: FoundPicture | UnpackedPicture, root: Path) -> str:
        """Return how a record names a picture.

        Raises:
            InputError: If the picture lies outside the folder of the records.
        """
        if isinstance(picture, UnpackedPicture):
            raise TypeError("a picture without a file cannot be named in its place")
        try:
            return picture.path.relative_to(self.home).as_posix()
        except ValueError:
            raise InputError(
                f"{picture.path}: lies outside {self.home}, the folder of the records, which name "
                f"their pictures relative to it. Write to a folder above the pictures "
                f"({root.parent} is one), or pass --copy-images"
            ) from None


class Copied:
    """Pictures are put into a folder beside the records, as hard links where the disk allows."""

    unpacks = True

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def name_of(self, picture: FoundPicture | UnpackedPicture, root: Path) -> str:
        """Put a picture into the folder and return how a record names it.

        Raises:
            InputError: If an embedded picture has the name of another.
        """
        if isinstance(picture, UnpackedPicture):
            return self._unpack(picture)
        inside = picture.path.relative_to(root)
        target = self.folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                os.link(picture.path, target)
            except OSError:  # another disk, or one without hard links
                shutil.copyfile(picture.path, target)
        return f"{self.name}/{inside.as_posix()}"

    def _unpack(self, picture: UnpackedPicture) -> str:
        target = self.folder / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise InputError(
                f"{picture.name}: is the name of a picture and of an embedded one (imageData); "
                "rename one of their annotation files"
            )
        target.write_bytes(picture.content)
        return f"{self.name}/{picture.name.as_posix()}"


@contextmanager
def open_places(out: Path, *, copy: bool, overwrite: bool) -> Iterator[InPlace | Copied]:
    """Give the place of the pictures of the records in `out`.

    With `copy` it is `<name>_images/` beside `out`, which is there when the block ends well.
    """
    if not copy:
        yield InPlace(out)
        return
    folder = out.with_name(f"{out.stem}_images")
    with whole_directory(folder, overwrite=overwrite) as partial:
        yield Copied(partial, folder.name)
