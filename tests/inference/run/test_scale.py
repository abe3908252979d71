"""What a run holds, and that no answer is lost or written twice; nothing is generated here."""

import json
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.data.contract.record import Record
from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import CoordExpError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.inference.run.predict import AnswerFile, Summary, answer_file
from coordexp.inference.run.ranks import Ranks
from coordexp.rendering.style import RenderingStyle
from tests.inference.plainly import plainly

Asks = Callable[[Sequence[str]], list[Answer]]


@dataclass(frozen=True)
class Prompts:
    """Questions that are the prompts of the records."""

    style: RenderingStyle
    end_marks: tuple[str, ...] = QWEN3_VL.end_marks

    def of_its_own(self) -> "Prompts":
        return self

    def question(self, record: Record, _picture: Image.Image) -> str:
        return str(record.prompt)


def answers(prompts: Sequence[str]) -> list[Answer]:
    """Say the prompt, which is no JSON, but tells whose answer it is."""
    return [Answer(prompt, (prompt,), (1.0,), "eos") for prompt in prompts]


@dataclass(frozen=True)
class Folder:
    """Records that share one picture, each with a prompt of its own."""

    path: Path
    style: RenderingStyle

    @property
    def out(self) -> Path:
        return self.path / "p.jsonl"

    def records(self, prompts: Sequence[str]) -> None:
        Image.new("RGB", (8, 8)).save(self.path / "a.png")
        row = {"images": ["a.png"], "width": 8, "height": 8, "objects": []}
        write_jsonl(self.path / "d.jsonl", ({**row, "prompt": prompt} for prompt in prompts))

    def run(
        self,
        ask: Asks = answers,
        *,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        batch_size: int = 3,
        then: Callable[[Summary], None] | None = None,
    ) -> Summary:
        files = AnswerFile(Prompts(self.style), self.path / "d.jsonl", self.out, model="m")
        if then is not None:
            files = replace(files, then=then)
        options = plainly(batch_size=batch_size, max_new_tokens=1)
        return answer_file(ask, files, options, ranks=ranks, quiet=True)

    def said(self) -> list[str]:
        return [json.loads(line)["raw_text"] for line in self.out.read_text().splitlines()]

    def parts(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("p.jsonl*"))


@pytest.fixture
def folder(tmp_path: Path, make_style: Callable[..., RenderingStyle]) -> Folder:
    return Folder(tmp_path, make_style())


def killed_after(batches: int) -> Asks:
    left = iter(range(batches))

    def ask(prompts: Sequence[str]) -> list[Answer]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return answers(prompts)

    return ask


def test_other_ranks_than_before_go_on_and_each_record_has_its_line_once(folder: Folder) -> None:
    prompts = [f"find {number}" for number in range(40)]
    folder.records(prompts)
    asked: list[str] = []

    def counting(asks: Asks) -> Asks:
        def ask(prompts: Sequence[str]) -> list[Answer]:
            said = asks(prompts)
            asked.extend(prompts)
            return said

        return ask

    for rank, batches in enumerate((1, 3, 0, 2)):
        with pytest.raises(KeyboardInterrupt):
            folder.run(counting(killed_after(batches)), ranks=Ranks(rank, 4))
    with (folder.path / "p.jsonl.part1").open("ab") as torn:
        torn.write(b'{"key": "12')
    assert len(asked) == 18
    assert folder.run(counting(answers), ranks=Ranks(1, 2)) == Summary()
    assert folder.run(counting(answers), ranks=Ranks(0, 2)).lines == 40
    assert folder.said() == prompts
    assert sorted(asked) == sorted(prompts)
    assert folder.parts() == ["p.jsonl"]


def test_records_that_are_the_same_have_a_line_each(folder: Folder) -> None:
    prompts = [f"find {number % 4}" for number in range(10)]
    folder.records(prompts)
    with pytest.raises(KeyboardInterrupt):
        folder.run(killed_after(2))
    assert folder.run().lines == 10
    assert folder.said() == prompts


def test_a_part_that_is_gone_is_an_error_and_no_shorter_file(folder: Folder) -> None:
    """As on machines that do not share a disk, or where two runs write the same file."""
    folder.records([f"find {number}" for number in range(12)])
    folder.run(ranks=Ranks(1, 2))
    part = folder.path / "p.jsonl.part1"
    kept = part.read_bytes()
    part.unlink()
    with pytest.raises(CoordExpError, match=r"image 4 of 12 .* not in p\.jsonl\.part\*; do all"):
        folder.run(ranks=Ranks(0, 2))
    assert folder.parts() == ["p.jsonl.part0"]
    part.write_bytes(kept)
    assert folder.run(ranks=Ranks(0, 2)).lines == 12


def test_who_is_stopped_after_the_last_answer_asks_nothing_again(folder: Folder) -> None:
    """While the predictions are joined, or something is made of them."""
    prompts = [f"find {number}" for number in range(9)]
    folder.records(prompts)

    def stopped(_: Summary) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.run(then=stopped)
    made: list[int] = []
    folder.run(killed_after(0), then=lambda summary: made.append(summary.lines))
    assert made == [9]
    assert folder.said() == prompts
    assert folder.parts() == ["p.jsonl"]


@pytest.mark.slow
def test_memory_hardly_grows_with_the_records(folder: Folder) -> None:
    """A run that goes on, so that what is kept counts too."""

    def peak(count: int) -> int:
        folder.records([f"find {number}" for number in range(count)])
        folder.out.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            folder.run(killed_after(count // 40), batch_size=20)
        tracemalloc.start()
        folder.run(batch_size=20)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(200)  # whatever is imported and made once
    few, many = peak(200), peak(1_000)
    assert (many - few) / 800 < 100  # bytes; 55 were measured
