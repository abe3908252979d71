"""Opening JSON, XML, YAML and text that others wrote, with every fault said in words.

A byte order mark is skipped and line ends do not matter. JSON keys that stand twice in an object
are refused, for a reader would keep one of them. XML entities and external references are refused:
annotations have none, attacks do.
"""

import gzip
import json
import zlib
from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import yaml
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from coordexp.errors import InputError


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, unpacked where it ends in `.gz`.

    Raises:
        InputError: If it cannot be read or is cut off.
    """
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: broken or cut off: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        InputError: If it cannot be read or is not UTF-8.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text: {error.reason}") from None


def load_json(path: Path, *, without: str | None = None) -> object:
    """Return the value of a JSON file. `NaN` and `Infinity` come as such; each use checks them.

    Args:
        path: The file.
        without: A key that is left out of every object that also has a `bbox`: outlines are most of
            what a large file holds.

    Raises:
        InputError: If it is not JSON, cut off, or has a key twice in an object.
    """
    doubled: list[str] = []

    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        row = dict(pairs)
        if len(row) != len(pairs):
            doubled.append(Counter(key for key, _ in pairs).most_common(1)[0][0])
        if without is not None and "bbox" in row:
            row.pop(without, None)
        return row

    text = read_text(path)
    try:
        value: object = json.loads(text, object_pairs_hook=build)
    except json.JSONDecodeError as error:
        cut = "; the file seems to be cut off" if error.pos >= len(text.rstrip()) else ""
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}{cut}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{path}: not JSON that can be read: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply for an annotation file") from None
    if doubled:
        raise InputError(f"{path}: the key {doubled[0]!r} stands twice in one object")
    return value


def load_xml(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        InputError: If it is not XML, or defines entities.
    """
    try:
        # A byte order mark is the parser's own business, as is the encoding that the file declares.
        root: Element = fromstring(read_bytes(path), forbid_dtd=False)
    except ParseError as error:
        raise InputError(f"{path}:{error.position[0]}: not XML: {error.msg}") from None
    except DefusedXmlException:
        raise InputError(
            f"{path}: defines XML entities or reads other files, which no annotation needs; "
            "remove its <!DOCTYPE> or <!ENTITY> part"
        ) from None
    except (ValueError, LookupError) as error:  # an encoding that does not exist
        raise InputError(f"{path}: not XML that can be read: {error}") from None
    return root


def load_yaml(path: Path) -> object:
    """Return the value of a YAML file.

    Raises:
        InputError: If it is not YAML.
    """
    try:
        value: object = yaml.safe_load(read_text(path))
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise InputError(f"{path}{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None
    return value
