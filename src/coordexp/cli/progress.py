"""Progress bars on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bytes_progress(name: str, path: Path) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many bytes of a file were done, and show a bar."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    size = path.stat().st_size if path.is_file() else None
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=size)
        yield lambda count: progress.advance(task, count)
