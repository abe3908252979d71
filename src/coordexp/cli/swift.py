"""`coordexp swift plugin`."""

import typer


def swift_plugin() -> None:
    """Print the file for ms-swift: swift sft ... --external_plugins "$(coordexp swift plugin)"."""
    from coordexp.integrations.ms_swift.place import plugin_path  # noqa: PLC0415

    typer.echo(plugin_path())
