"""Where the plugin lies; apart, so that printing it waits for nothing."""

from pathlib import Path


def plugin_path() -> Path:
    """Return the file for ms-swift's `--external_plugins`."""
    return Path(__file__).with_name("plugin.py")
