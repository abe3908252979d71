"""What `data check` passes, training and inference can read; what they refuse, it has named."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.audit.audit import audit_files
from coordexp.data.contract.chat import Chat
from coordexp.data.files.jsonl import SampleFile
from coordexp.errors import CoordExpError, RecordError
from coordexp.inference.run.ask import EncodedQuestions, Question
from coordexp.inference.run.inputs import load_source
from coordexp.inference.run.rank_work import _read
from coordexp.model.load import load_inputs, load_tokenizer
from coordexp.rendering.encode import Encoder
from coordexp.training.step.dataset import RecordDataset, check_records, check_texts
from tests.rendering.plain import PLAIN_STYLE

Row = dict[str, object]

words = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["cat", 'a cat\'s "tail"', "naïve 猫", "a | b", "a <| b |> c", "<b>", "\\n"]),
    st.sampled_from(["<|im_end|>", "x<|image_pad|>", "<|endoftext|> dog", "<|vision_start|>"]),
    st.sampled_from(["<|coord_5|>", "<|coord_*|>", "<|coord_1000|>", "<|never seen|>", "\ud800"]),
)
boxes = st.sampled_from([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 2, 2], [0, 0, 9999, 1], [1, 1, 0, 0]])
tokens = st.lists(st.integers(0, 1001), min_size=4, max_size=4).map(
    lambda bins: [f"<|coord_{k}|>" for k in sorted(bins)]
)
objects = st.fixed_dictionaries({"desc": words, "bbox_2d": st.one_of(boxes, tokens)})
# One side may be just, or just not, two hundred times the other.
sizes = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(200, 1), (201, 1), (1, 200), (1, 201), (402, 2), (400, 2), (3, 100)]),
)
damages = st.sampled_from(["", "", "", "", "gone", "cut", "middle", "float", "other size", "text"])
modes = st.sampled_from(["RGB", "L", "1", "P", "RGBA", "LA", "I;16", "CMYK"])


def write_picture(path: Path, size: tuple[int, int], mode: str, damage: str) -> None:
    """Write a picture of noise, or what is left of one."""
    if damage == "other size":
        size = (size[0] + 1, size[1])
    kind = "F" if damage == "float" else mode
    suffix = "TIFF" if kind in {"F", "CMYK"} else "PNG"
    noise = Image.frombytes("RGB", size, Random(0).randbytes(3 * size[0] * size[1]))
    picture = noise.convert("L").convert("I").convert("I;16") if kind == "I;16" else None
    (picture or noise.convert(kind)).save(path, suffix)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "middle":
        middle = len(content) // 2
        content[middle : middle + 9] = b"\0" * 9
        path.write_bytes(content)
    elif damage == "text":
        path.write_bytes(b"no picture")
    elif damage == "gone":
        path.unlink()


@st.composite
def samples(draw: st.DrawFn) -> tuple[Row, tuple[int, int], str, str]:
    """Draw a record or a chat, and what its picture is like."""
    size = draw(sizes)
    picture = (size, draw(modes), draw(damages))
    if draw(st.integers(0, 4)) == 0:
        turns = [
            {"role": "user", "content": "<image>" + draw(words)},
            {"role": "assistant", "content": draw(words)},
        ]
        return {"messages": turns, "images": ["a.png"]}, *picture
    row: Row = {"images": ["a.png"], "width": size[0], "height": size[1]}
    row["objects"] = draw(st.lists(objects, max_size=3))
    if draw(st.booleans()):
        row["prompt"] = draw(words)
    return row, *picture


@pytest.fixture(scope="module")
def encoder(tiny_expanded: Path) -> Encoder:
    style = PLAIN_STYLE
    processor = load_inputs(tiny_expanded, min_pixels=None, max_pixels=None)
    return Encoder(load_tokenizer(tiny_expanded), processor, style, with_token_types=True)


def trained_on(path: Path, encoder: Encoder) -> None:
    """Do to a file what a training run does before and while it trains."""
    records = SampleFile(path, SPEC_ALPHABET)
    check_records(records)
    check_texts(records, encoder)
    dataset = RecordDataset(records, encoder, seed=0, max_length=None)
    assert [len(dataset[index]) for index in range(len(dataset))]


def asked_about(path: Path, encoder: Encoder) -> None:
    """Do to a file what inference does before it asks."""
    if isinstance(SampleFile(path, SPEC_ALPHABET)[0], Chat):
        return
    source = load_source(path, SPEC_ALPHABET)
    batch = _read(source, EncodedQuestions(encoder), range(len(source)))
    if batch.unread:
        raise RecordError(batch.unread[0])
    assert all(isinstance(question, Question) for question in batch.questions)


def refusal(use: Callable[[Path, Encoder], None], path: Path, encoder: Encoder) -> str | None:
    try:
        use(path, encoder)
    except CoordExpError as error:
        return str(error)
    return None


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=samples())
def test_what_the_check_passes_can_be_read_and_what_it_names_cannot(
    tmp_path: Path, encoder: Encoder, sample: tuple[Row, tuple[int, int], str, str]
) -> None:
    row, size, mode, damage = sample
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n")
    write_picture(tmp_path / "a.png", size, mode, damage)
    report = audit_files([path], images=True, alphabet=SPEC_ALPHABET)
    named = [finding.rule.name for finding in report.findings]
    trained, asked = (refusal(use, path, encoder) for use in (trained_on, asked_about))
    if report.total("violation"):
        assert trained is not None, named
        assert str(path) in trained
    else:
        assert (trained, asked) == (None, None)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"objects": [{"desc": "<|im_end|>", "bbox_2d": [1, 1, 2, 2]}]}, "special-token"),
        ({"objects": [{"desc": "a <|image_pad|> dog", "line": [1, 1, 2, 2]}]}, "special-token"),
        ({"prompt": "<|vision_start|>what?"}, "special-token"),
        ({"width": 401, "height": 2}, "too-thin"),
        ({"width": 9, "height": 9, "resized": [1, 999]}, "too-thin"),
    ],
)
def test_each_is_named_without_a_look_at_pictures(
    tmp_path: Path, change: dict[str, object], rule: str
) -> None:
    row = {"images": ["a.png"], "width": 64, "height": 48, "objects": [], **change}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    report = audit_files([tmp_path / "a.jsonl"], images=False, alphabet=SPEC_ALPHABET)
    assert [finding.rule.name for finding in report.findings] == [rule]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_special_token_in_a_chat_is_named(tmp_path: Path, role: str) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    for message in messages:
        if message["role"] == role:
            message["content"] += "<|im_start|>"
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    report = audit_files([tmp_path / "a.jsonl"], images=False, alphabet=SPEC_ALPHABET)
    assert [finding.rule.name for finding in report.findings] == ["special-token"]


def test_damage_in_the_middle_of_a_file_takes_decoding_to_see(tmp_path: Path) -> None:
    row = {"images": ["a.png"], "width": 40, "height": 40, "objects": []}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    write_picture(tmp_path / "a.png", (40, 40), "RGB", "middle")
    found = [
        [
            finding.rule.name
            for finding in audit_files(
                paths, images=True, decode=decode, alphabet=SPEC_ALPHABET
            ).findings
        ]
        for paths in [[tmp_path / "a.jsonl"]]
        for decode in (True, False)
    ]
    assert found == [["image-unreadable"], []]
