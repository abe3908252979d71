"""`coordexp demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    model: Annotated[Path, typer.Argument(help="Merged model, adapter checkpoint or stock model.")],
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 7860,
) -> None:
    """Show a page to try a model in a browser.

    A picture in, boxes drawn, a threshold and a filter of classes.

    Pictures stay on this machine and are gone when the page is closed.
    """
    from coordexp.serving.address import exposure_warning  # noqa: PLC0415
    from coordexp.serving.demo import serve_demo  # noqa: PLC0415

    if warning := exposure_warning(host):
        typer.echo(warning, err=True)
    serve_demo(model, host, port, lambda url: typer.echo(f"open {url} (Ctrl-C ends it)"))
    typer.echo("stopped")
