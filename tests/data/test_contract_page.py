"""Every example of `docs/data-contract.md` is what the page says it is."""

import re
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import RecordError

PAGE = Path(__file__).parents[2] / "docs" / "data-contract.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
# A `text` block is the error of the `json` block before it; a `json` block without one is good.
EXAMPLES = [
    (body.replace("\n", ""), following[1].strip() if following[0] == "text" else None)
    for (language, body), following in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True)
    if language == "json"
]


def test_the_page_has_good_and_bad_examples_and_no_stray_blocks() -> None:
    bad = sum(message is not None for _, message in EXAMPLES)
    assert bad >= 12
    assert len(EXAMPLES) - bad >= 3
    assert len(BLOCKS) == len(EXAMPLES) + bad


@pytest.mark.parametrize(("line", "message"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("val.jsonl").write_text(line + "\n", encoding="utf-8")
    records = RecordFile(Path("val.jsonl"), SPEC_ALPHABET)
    if message is None:
        assert records[0].width > 0
    else:
        with pytest.raises(RecordError) as caught:
            records[0]
        assert str(caught.value) == message
