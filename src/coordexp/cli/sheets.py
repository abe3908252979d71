"""Tables on a terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from coordexp.viewing.elements import Sheet


def print_sheets(console: "Console", sheets: "Iterable[Sheet]") -> None:
    """Print tables under their titles, numbers to the right."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    for sheet in sheets:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column(sheet.head[0], overflow="fold")
        for name in sheet.head[1:]:
            table.add_column(name, justify="right")
        for row in sheet.rows:
            table.add_row(*map(Text, row))  # not markup: a desc may hold brackets
        console.print(Text(sheet.title, "bold"), soft_wrap=True)
        console.print(table)
