"""A family's name stands in its own folder, and where that very family is meant."""

from pathlib import Path

import coordexp

PACKAGE = Path(coordexp.__file__).parent
KNOWN_BY_NAME = ("families/", "tiny/", "integrations/ms_swift")
SUFFIXES = {".py", ".yaml", ".yml", ".json", ".toml", ".md", ".css", ".js", ".html", ".typed"}


def test_no_other_code_names_a_family() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix in SUFFIXES]
    assert len(files) > 200
    strangers = [
        f"{name}: {line.strip()}"
        for path in files
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(KNOWN_BY_NAME)
        for line in path.read_text("utf-8").splitlines()
        if "qwen" in line.lower()
    ]
    assert not strangers
