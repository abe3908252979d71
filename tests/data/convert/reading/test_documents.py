import gzip
from pathlib import Path

import pytest

from coordexp.data.convert.reading.documents import load_json, load_xml, load_yaml, read_text
from coordexp.errors import InputError

BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>'
READER = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>'


def write(folder: Path, data: bytes | str, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    assert load_json(write(tmp_path, '\ufeff{"a":\r\n [1, 2.5]}\r\n')) == {"a": [1, 2.5]}
    assert load_xml(write(tmp_path, "\ufeff<a>\r\n<b>1</b></a>")).findtext("b") == "1"
    assert load_yaml(write(tmp_path, "\ufeffa: 1\r\nb: 2\r\n")) == {"a": "1", "b": "2"}
    assert load_xml(write(tmp_path, "<a>\u00e9</a>".encode("utf-16"))).text == "\u00e9"


def test_packed_files_are_read(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a": 1}')
    assert load_json(write(tmp_path, packed, "a.json.gz")) == {"a": 1}
    for broken in (packed[:-9], packed[:15], b"no gzip"):
        with pytest.raises(InputError, match="broken or cut off"):
            load_json(write(tmp_path, broken, "a.json.gz"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1,', ":1: not JSON: Expecting value; the file seems to be cut off"),
        ('{"a": 1,\n"b"', ":2: not JSON: .*; the file seems to be cut off"),
        ('{"a": "b', ":1: not JSON: Unterminated string"),
        ('{"a":\0 1}', ":1: not JSON: Expecting value"),
        ("", ":1: not JSON: Expecting value; the file seems to be cut off"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice in one object"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 10_000, "not JSON that can be read"),
        (b'{"a":\n "\xff"}', ":2: not UTF-8 text"),
    ],
)
def test_broken_json_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_json(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a>\n<b></a>", ":2: not XML: mismatched tag"),
        ("<a><b>", ":1: not XML"),
        ("", "not XML"),
        ("<a>\0</a>", "not XML"),
        ("<?xml version='1.0' encoding='none'?><a/>", "not XML"),
        (BOMB, "defines XML entities or reads other files"),
        (READER, "defines XML entities or reads other files"),
    ],
)
def test_broken_and_harmful_xml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_xml(write(tmp_path, text))


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not YAML"):
        load_yaml(write(tmp_path, "a: !!python/object/apply:os.getcwd []"))


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_text(path)


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "big5", "shift_jis", "euc-kr", "cp1252"])
def test_xml_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    text = {"euc-kr": "\uace0\uc591\uc774", "cp1252": "caf\u00e9"}.get(encoding, "\u5c0f")
    document = f'<?xml version="1.0" encoding="{encoding}"?>\n<a>{text}</a>'
    assert load_xml(write(tmp_path, document.encode(encoding))).text == text


def test_gb2312_is_read_with_the_characters_of_its_successors(tmp_path: Path) -> None:
    document = "<?xml version='1.0' encoding='gb2312'?><a>\u9555</a>"  # is in GBK only
    assert load_xml(write(tmp_path, document.encode("gbk"))).text == "\u9555"


def test_xml_in_another_encoding_than_it_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not UTF-8 and declares no encoding"):
        load_xml(write(tmp_path, "<a>\u4e2d</a>".encode("gbk")))
    declared = b"<?xml version='1.0' encoding='gb2312'?>\n<a>\xff\xff</a>"
    with pytest.raises(InputError, match="not XML that can be read"):
        load_xml(write(tmp_path, declared))
    with pytest.raises(InputError, match=":3: not XML"):
        load_xml(write(tmp_path, b"<?xml version='1.0' encoding='big5'?>\n<a>\n</b>"))


def test_text_of_the_editor_of_windows_is_read(tmp_path: Path) -> None:
    assert read_text(write(tmp_path, "cat\n\u5c0f".encode("utf-16"))) == "cat\n\u5c0f"


def test_yaml_values_stay_the_text_that_was_written(tmp_path: Path) -> None:
    text = "a: [yes, No, 010, 1_0, 1e3, null, ~, 2024-01-02, 1:30, '', \"on\", 0x1F, 1.10]\nyes: \n"
    expected = [
        *("yes", "No", "010", "1_0", "1e3", "null", "~", "2024-01-02", "1:30", "", "on"),
        *("0x1F", "1.10"),
    ]
    assert load_yaml(write(tmp_path, text)) == {"a": expected, "yes": None}
    assert load_yaml(write(tmp_path, "")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}", ":2: not YAML: the key 'c' stands twice"),
        ("a: !other 1", ":1: not YAML: unknown tag !other"),
        ("? [a]\n: 1", ":1: not YAML: a key is no text"),
        ("a: &b [*b]", "not YAML"),
    ],
)
def test_broken_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_yaml(write(tmp_path, text))


def test_yaml_aliases_do_not_multiply(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    assert load_yaml(write(tmp_path, "\n".join(lines)))
