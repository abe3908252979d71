"""Batches of fresh scenes for pretraining: patches, token ids, and dense targets per visual token.

Shapes: `B` scenes, `P` patches of a scene, `C` values of a patch, `G` visual tokens of a scene,
`T` tokens, `O` objects of a part.

The answer is the product's text baseline (`coordexp.rendering` with `coord_tokens: false`). Some
parts of a batch ask for quoted numbers instead, so that the base knows lists of strings, which is
what coord tokens are to it later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Geometry, RecordObject
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rendering.conversation import Conversation
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.encode import IGNORE_INDEX
from coordexp.scenes.digits import CLASS_NAMES, MAX_OBJECTS, SCENE_SIZE, Scene, SceneComposer
from coordexp.tiny.model import MERGE_SIZE, PATCH_SIZE

PROMPT = "Find every digit."
QUOTED_PROMPT = "Find every digit. Quote the numbers."
CELL = PATCH_SIZE * MERGE_SIZE
CELLS_PER_SIDE = SCENE_SIZE // CELL
VISUAL_TOKENS = CELLS_PER_SIDE**2

_QUOTED_SHARE = 0.15
_LENGTH_STEP = 16


@dataclass(frozen=True)
class CellTargets:
    """What the visual tokens of a scene see; -100 in `label` where there is no digit.

    Args:
        label: Class of the digit under the cell's centre.
        rank: Its place in reading order, from 0; -100 beyond the most that an answer names.
        box: Its box in pixels.
    """

    label: Int64[Tensor, "*B G"]
    rank: Int64[Tensor, "*B G"]
    box: Int64[Tensor, "*B G 4"]


@dataclass(frozen=True)
class TextPart:
    """Scenes of similar length, read by the text model together.

    Args:
        input_ids: Prompt and answer, padded on the right.
        labels: The answer and its end-of-turn token; -100 elsewhere.
        coords: All box coordinates in pixels, in the order in which the answers write them.
    """

    input_ids: Int64[Tensor, "B T"]
    labels: Int64[Tensor, "B T"]
    coords: Int64[Tensor, " O"]


@dataclass(frozen=True)
class Batch:
    """One step's scenes, sorted by their number of digits and cut into parts."""

    patches: Float32[Tensor, "B P C"]
    cells: CellTargets
    parts: tuple[TextPart, ...]


class AnswerWriter:
    """Encodes scenes as the product encodes records."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._prompts = {quoted: self._prompt_ids(quoted=quoted) for quoted in (False, True)}

    def _prompt_ids(self, *, quoted: bool) -> list[int]:
        conversation = Conversation(self._tokenizer, system_prompt=None)
        prompt = conversation.prompt(QUOTED_PROMPT if quoted else PROMPT)
        return self._ids(prompt.replace(QWEN3_VL.image_token, QWEN3_VL.image_token * VISUAL_TOKENS))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def encode(self, scene: Scene, *, quoted: bool) -> tuple[list[int], list[int]]:
        """Return the ids of the prompt and of the answer with its end of turn."""
        return self._prompts[quoted], self._ids(answer_text(scene, quoted=quoted) + "<|im_end|>")

    def part(self, scenes: Sequence[Scene], *, quoted: bool) -> TextPart:
        """Return scenes as one padded block."""
        encoded = [self.encode(scene, quoted=quoted) for scene in scenes]
        longest = max(len(prompt) + len(answer) for prompt, answer in encoded)
        width = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
        ids = torch.full((len(scenes), width), int(self._tokenizer.pad_token_id or 0))
        labels = torch.full((len(scenes), width), IGNORE_INDEX)
        for row, (prompt, answer) in enumerate(encoded):
            start, stop = len(prompt), len(prompt) + len(answer)
            ids[row, :stop] = torch.tensor(prompt + answer)
            labels[row, start:stop] = torch.tensor(answer)
        coords = [edge for scene in scenes for digit in scene.digits for edge in digit.box]
        return TextPart(input_ids=ids, labels=labels, coords=torch.tensor(coords))


def answer_text(scene: Scene, *, quoted: bool) -> str:
    """Return the answer in plain integers; `quoted` writes each as a string."""
    objects = [
        RecordObject(
            desc=CLASS_NAMES[digit.label],
            geometry=Geometry(kind="bbox_2d", values=tuple(map(float, digit.box)), unit="px"),
        )
        for digit in scene.digits
    ]
    height, width = scene.image.shape[:2]
    text = render_answer(
        objects,
        width,
        height,
        alphabet=SPEC_ALPHABET,
        json_format="standard",
        coord_tokens=quoted,
    )
    prefix, suffix = SPEC_ALPHABET.pattern.split("{}")
    return text.replace(prefix, "").replace(suffix, "")


def build_batch(
    composer: SceneComposer,
    writer: AnswerWriter,
    rng: np.random.Generator,
    *,
    size: int,
    parts: int,
    objects: tuple[int, int],
) -> Batch:
    """Return a batch of new scenes with the fewest and most `objects` given; `parts` cut it."""
    counts = rng.integers(objects[0], objects[1] + 1, size)
    scenes = [composer.compose(rng, count=int(count)) for count in counts]
    scenes.sort(key=lambda scene: len(scene.digits))
    step = size // parts
    blocks = [
        writer.part(scenes[first : first + step], quoted=bool(rng.random() < _QUOTED_SHARE))
        for first in range(0, size, step)
    ]
    cells = [cell_targets(scene) for scene in scenes]
    return Batch(
        patches=torch.from_numpy(patchify(np.stack([scene.image for scene in scenes]))),
        cells=CellTargets(
            label=torch.stack([cell.label for cell in cells]),
            rank=torch.stack([cell.rank for cell in cells]),
            box=torch.stack([cell.box for cell in cells]),
        ),
        parts=tuple(blocks),
    )


def cell_targets(scene: Scene) -> CellTargets:
    """Return the targets of a scene: a cell sees the digit whose box holds its centre.

    The cell under the middle of a box always sees that digit, so that none goes unseen.
    """
    row, column = np.divmod(np.arange(VISUAL_TOKENS), CELLS_PER_SIDE)
    x, y = column * CELL + CELL // 2, row * CELL + CELL // 2
    label = torch.full((VISUAL_TOKENS,), IGNORE_INDEX)
    rank = torch.full((VISUAL_TOKENS,), IGNORE_INDEX)
    box = torch.zeros(VISUAL_TOKENS, 4, dtype=torch.long)
    for place, digit in enumerate(scene.digits):
        x1, y1, x2, y2 = digit.box
        under = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
        under[(y1 + y2) // 2 // CELL * CELLS_PER_SIDE + (x1 + x2) // 2 // CELL] = True
        cells = torch.from_numpy(under)
        label[cells] = digit.label
        rank[cells] = place if place < MAX_OBJECTS else IGNORE_INDEX
        box[cells] = torch.tensor(digit.box)
    return CellTargets(label=label, rank=rank, box=box)


def patchify(images: UInt8[np.ndarray, "B H W 3"]) -> Float32[np.ndarray, "B P C"]:
    """Return what Qwen's image processor makes of unscaled images, for a whole batch at once."""
    count, side = len(images), CELLS_PER_SIDE
    pixels = images.astype(np.float32) / 127.5 - 1.0
    blocks = pixels.reshape(count, side, MERGE_SIZE, PATCH_SIZE, side, MERGE_SIZE, PATCH_SIZE, 3)
    ordered = blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6)
    patches = ordered.reshape(count, -1, 3, 1, PATCH_SIZE, PATCH_SIZE)
    frames = np.repeat(patches, 2, axis=3)
    return frames.reshape(count, frames.shape[1], -1)
