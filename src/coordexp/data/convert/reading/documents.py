"""Opening JSON, XML, YAML and text that others wrote, with every fault said in words.

A byte order mark is skipped and line ends do not matter. JSON and YAML keys that stand twice in an
object are refused, for a reader would keep one of them. XML entities and external references are
refused: annotations have none, attacks do. XML comes in the encoding that it declares, GB2312 too,
which the parser itself does not know. YAML's values stay the text that was written: `no` and `010`
are names of classes as often as anything else.
"""

import codecs
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import yaml
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from coordexp.errors import InputError

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
# GB18030 holds both of the others, and tools write them under each other's names.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}
_ROOT = re.compile(
    rb"""^\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^>\[]*>\s*)*<([A-Za-z_][\w.-]*)""", re.DOTALL
)
_YAML_TAG = "tag:yaml.org,2002:"
_PEEK_BYTES = 1 << 16


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


def read_ends(path: Path) -> bytes:
    """Return a file's first and last bytes: a large one is read once, and later."""
    with path.open("rb") as file:
        first = file.read(_PEEK_BYTES)
        file.seek(max(_PEEK_BYTES, path.stat().st_size - _PEEK_BYTES))
        return first + file.read()


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        InputError: If it cannot be read or is neither UTF-8 nor marked as UTF-16.
    """
    data = read_bytes(path)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text: {error.reason}") from None


def load_json(path: Path, *, forget: Callable[[dict[str, object]], None] | None = None) -> object:
    """Return the value of a JSON file. `NaN` and `Infinity` come as such; each use checks them.

    Args:
        path: The file.
        forget: Takes out of each object what need not be held in memory; None keeps everything.

    Raises:
        InputError: If it is not JSON, cut off, or has a key twice in an object.
    """
    doubled: list[str] = []

    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        row = dict(pairs)
        if len(row) != len(pairs):
            doubled.append(Counter(key for key, _ in pairs).most_common(1)[0][0])
        if forget is not None:
            forget(row)
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
    data = read_bytes(path)
    try:
        # A byte order mark is the parser's own business.
        root: Element = fromstring(_as_utf8(data), forbid_dtd=False)
    except ParseError as error:
        raise InputError(f"{path}:{error.position[0]}: not XML: {error.msg}{_hint(data)}") from None
    except DefusedXmlException:
        raise InputError(
            f"{path}: defines XML entities or reads other files, which no annotation needs; "
            "remove its <!DOCTYPE> or <!ENTITY> part"
        ) from None
    except (ValueError, LookupError) as error:  # an encoding that does not exist
        raise InputError(f"{path}: not XML that can be read: {error}") from None
    return root


def xml_root_name(path: Path) -> str | None:
    """Return the name of the first element of an XML file, by a look at its beginning.

    None where that shows none, as in a file that is no XML, or in UTF-16.
    """
    with path.open("rb") as file:
        found = _ROOT.match(file.read(_PEEK_BYTES).removeprefix(codecs.BOM_UTF8))
    return None if found is None else found[1].decode("ascii")


def _hint(data: bytes) -> str:
    if _DECLARED.match(data) or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return '; it is not UTF-8 and declares no encoding, as <?xml encoding="gb2312"?> would'
    return ""


def _as_utf8(data: bytes) -> bytes:
    """Return XML as UTF-8 where it declares something else: expat knows few encodings.

    Raises:
        ValueError: If it is not in the encoding that it declares.
        LookupError: If there is no such encoding.
    """
    declared = _DECLARED.match(data)
    if declared is None:
        return data
    name = codecs.lookup(declared[1].decode("ascii")).name
    if name.startswith("utf"):
        return data
    text = data[declared.end() :].decode(_WIDER.get(name, name))
    return b"\n" * declared[0].count(b"\n") + text.encode("utf-8")


def load_yaml(path: Path) -> object:
    """Return the value of a YAML file: mappings, lists, text as it is written, None for nothing.

    Raises:
        InputError: If it is not YAML, or has a key twice in a mapping.
    """
    try:
        node = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
        return None if node is None else _node_to_value(node, {})
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise InputError(f"{path}{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {error}") from None


def _node_to_value(node: yaml.Node, known: dict[int, object]) -> object:
    """Return the value of a node; one with several aliases is built once."""
    if id(node) in known:
        return known[id(node)]
    if not node.tag.startswith(_YAML_TAG) or "python/" in node.tag:
        raise yaml.MarkedYAMLError(problem=f"unknown tag {node.tag}", problem_mark=node.start_mark)
    value: object
    if isinstance(node, yaml.MappingNode):
        value = _mapping(node, known)
    elif isinstance(node, yaml.SequenceNode):
        value = [_node_to_value(item, known) for item in node.value]
    else:
        is_quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
        value = node.value if node.value or is_quoted else None
    known[id(node)] = value
    return value


def _mapping(node: yaml.MappingNode, known: dict[int, object]) -> dict[str, object]:
    value: dict[str, object] = {}
    for key, item in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key is no text", problem_mark=key.start_mark)
        if key.value in value:
            problem = f"the key {key.value!r} stands twice in one mapping"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        value[key.value] = _node_to_value(item, known)
    return value
