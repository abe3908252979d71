"""Whether a picture that was resized before is one that a model looks at as it is."""

from coordexp.data.contract.record import Record
from coordexp.errors import RecordError
from coordexp.families.picture_grid import PictureGrid


def check_cells(record: Record, grid: PictureGrid) -> None:
    """Refuse a picture that was resized for another model: it would be resized once more.

    Raises:
        RecordError: If its size is no multiple of the model's cell.
    """
    if record.resized is not None and not grid.holds(*record.resized):
        width, height = record.resized
        raise RecordError(
            f"resized: {width}x{height} is no multiple of this model's cell of {grid.cell_px} "
            "pixels; it was prepared for another one and would be resized once more; prepare the "
            "original records again, with --model and the path of this one"
        )
