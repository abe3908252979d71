"""A family that is made up here goes through all that asks a family, and no other code changes."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record, parse_record
from coordexp.errors import CheckpointError, RecordError
from coordexp.export.base_layout import untied_config
from coordexp.families.boxes import BoxText
from coordexp.families.family import Family, VocabularyNames
from coordexp.families.inputs import INPUTS
from coordexp.families.known import FAMILIES
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.towers import TowerNames, unknown_layers
from coordexp.model.adapters import check_layers, lora_target_pattern
from coordexp.model.fingerprint import stored_rows
from coordexp.model.load import load_inputs, load_tokenizer
from coordexp.rendering.collate import blank_example
from coordexp.rendering.encode import Encoder
from coordexp.rendering.packing import PackCollator
from tests.model.small import small_model
from tests.rendering.plain import PLAIN_STYLE

PINHOLE = Family(
    name="pinhole",
    grid=PictureGrid(cell_px=28, least=28**2, most=100 * 28**2, largest_ratio=20),
    image_token="<|vision_pad|>",
    end_marks=("</s>",),
    text_block="llm",
    vocabulary=VocabularyNames(embedding="wte", head="unembed"),
    towers=(
        TowerNames("vision", re.compile(r"(^|\.)eye\."), r"(?:.*\.)?eye\.\d+\.", ("look",)),
        TowerNames("language", re.compile(r"(^|\.)(mind|unembed)\."), r"(?:.*\.)?mind\.", ("say",)),
    ),
    boxes=BoxText(
        box_key="box",
        point_key="point",
        label_key="name",
        steps=None,
        question="Where is each {classes}?",
        open_question="What is where?",
    ),
    swift_packages=(),
    recurrent=(),
    unloaded=(),
)


class PinholeInputs:
    """One mean colour for each cell, and positions that only count."""

    family = PINHOLE
    grid = PINHOLE.grid
    patch_px = PINHOLE.grid.cell_px

    def count_tokens(self, width: int, height: int) -> int:
        return self.tokens_of((1, *self._cells(width, height)))

    def tokens_of(self, grid_thw: Sequence[int]) -> int:
        return grid_thw[1] * grid_thw[2]

    def encode(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        grids = [(1, *self._cells(*picture.size)) for picture in pictures]
        count = sum(map(self.tokens_of, grids))
        return torch.zeros(count, 3), torch.tensor(grids, dtype=torch.long).reshape(-1, 3)

    def positions(
        self, is_image: Sequence[bool], grids_thw: Sequence[tuple[int, int, int]]
    ) -> tuple[list[int], list[int], list[int]]:
        assert sum(is_image) == sum(map(self.tokens_of, grids_thw))
        counted = [*range(len(is_image))]
        return counted, counted, counted

    def pack(self, positions: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"cu_seq_lens": torch.tensor([0, *(rows.shape[1] for rows in positions)]).cumsum(0)}

    def _cells(self, width: int, height: int) -> tuple[int, int]:
        return max(1, height // self.patch_px), max(1, width // self.patch_px)


def load_pinhole(
    path: Path,  # noqa: ARG001 - the interface's
    *,
    min_pixels: int | None,  # noqa: ARG001
    max_pixels: int | None,  # noqa: ARG001
) -> PinholeInputs:
    return PinholeInputs()


@pytest.fixture
def checkpoint(tiny_expanded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tokenizer of the tiny base, said to be of the made-up family."""
    monkeypatch.setitem(FAMILIES, PINHOLE.name, PINHOLE)
    monkeypatch.setitem(INPUTS, PINHOLE.name, load_pinhole)
    path = tmp_path / "pinhole"
    path.mkdir()
    for file in tiny_expanded.iterdir():
        if file.suffix in (".json", ".jinja", ".txt") and "index" not in file.name:
            text = file.read_text("utf-8").replace("<|image_pad|>", PINHOLE.image_token)
            (path / file.name).write_text(text, "utf-8")
    (path / "config.json").write_text(json.dumps({"model_type": "pinhole"}))
    (path / "preprocessor_config.json").write_text(json.dumps({"patch_size": 14, "merge_size": 2}))
    return path


def raw_records(folder: Path) -> Path:
    Image.new("RGB", (100, 80)).save(folder / "a.png")
    row = {"images": ["a.png"], "width": 100, "height": 80, "objects": []}
    (folder / "raw.jsonl").write_text(json.dumps(row) + "\n")
    return folder / "raw.jsonl"


@pytest.mark.parametrize("by", ["--model", "--family"])
def test_pictures_are_resized_to_its_cells(checkpoint: Path, tmp_path: Path, by: str) -> None:
    which = checkpoint if by == "--model" else PINHOLE.name
    arguments = ["data", "prepare", str(raw_records(tmp_path)), str(tmp_path / "t.jsonl")]
    wishes = ["--max-pixels", "9000", "--workers", "1", by, str(which)]
    done = CliRunner().invoke(app, [*arguments, *wishes])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "t.jsonl").read_text())["resized"] == [84, 84]


def encoder_of(path: Path) -> Encoder:
    inputs = load_inputs(path, min_pixels=None, max_pixels=None)
    return Encoder(load_tokenizer(path), inputs, PLAIN_STYLE)


def record(resized: tuple[int, int] | None) -> Record:
    row = {"images": ["a.png"], "width": 100, "height": 80, "objects": []}
    return replace(parse_record(row, SPEC_ALPHABET), resized=resized)


def test_records_are_encoded_with_its_token_and_positions(checkpoint: Path) -> None:
    encoder = encoder_of(checkpoint)
    picture = Image.new("RGB", (84, 56))
    example = encoder.encode(record((84, 56)), picture, seed=0, epoch=0, index=0)
    assert int((example.input_ids == encoder.image_token_id).sum()) == 6
    assert encoder.tokenizer.decode([encoder.image_token_id]) == PINHOLE.image_token
    assert example.position_ids[0].tolist() == [*range(len(example))]
    assert encoder.length(record((84, 56))) == len(example)


def test_a_pack_holds_what_its_model_needs(checkpoint: Path) -> None:
    encoder = encoder_of(checkpoint)
    example = encoder.encode(record((84, 56)), Image.new("RGB", (84, 56)), seed=0, epoch=0, index=0)
    collate = PackCollator(
        inputs=encoder.inputs,
        image_token_id=encoder.image_token_id,
        blank=blank_example(encoder),
    )
    batch = collate([example, example])
    assert batch["cu_seq_lens"].tolist() == [0, len(example), 2 * len(example)]
    assert "position_ids" not in batch


def test_a_picture_that_was_resized_for_another_model_is_refused(checkpoint: Path) -> None:
    encoder, picture = encoder_of(checkpoint), Image.new("RGB", (96, 64))
    with pytest.raises(RecordError, match="96x64 is no multiple of this model's cell of 28 pixels"):
        encoder.encode(record((96, 64)), picture, seed=0, epoch=0, index=0)
    with pytest.raises(RecordError, match="prepare the original records again, with --model"):
        encoder.encode_prompt(record((96, 64)), picture)
    with pytest.raises(RecordError, match="no multiple"):
        encoder.length(record((96, 64)))
    encoder.encode_prompt(record(None), picture)  # resized by nobody yet


class Eye(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.eye = nn.ModuleList([nn.ModuleDict({"look": nn.Linear(2, 2)})])
        self.mind = nn.ModuleDict({"say": nn.Linear(2, 2), "doubt": nn.Linear(2, 2)})


def test_lora_goes_to_its_layers() -> None:
    pattern = lora_target_pattern(PINHOLE.towers, ("vision", "language"), None)
    layers = [name for name, module in Eye().named_modules() if isinstance(module, nn.Linear)]
    assert [name for name in layers if re.fullmatch(pattern, name)] == ["eye.0.look", "mind.say"]
    assert unknown_layers(layers, PINHOLE.towers) == ["mind.doubt"]


def test_layers_that_a_family_does_not_know_are_refused_by_name() -> None:
    model = small_model()
    with pytest.raises(CheckpointError, match=r"26 linear layers .* pinhole does not know.*qkv"):
        check_layers(model, PINHOLE)


def test_its_vocabulary_is_found_by_its_names(tiny_expanded: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tensor ends in wte\.weight"):
        stored_rows(tiny_expanded, (0, 1), PINHOLE.vocabulary)


def test_a_merged_model_is_untied_where_its_family_keeps_the_language_model(
    checkpoint: Path,
) -> None:
    config = {"model_type": "pinhole", "llm": {"x": 1}, "text_config": {"x": 1}}
    (checkpoint / "config.json").write_text(json.dumps(config))
    untied = untied_config(checkpoint)
    assert untied["llm"] == {"x": 1, "tie_word_embeddings": False}
    assert untied["text_config"] == {"x": 1}
    assert untied["tie_word_embeddings"] is False
