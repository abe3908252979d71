"""One record and its picture as one example of token ids, labels and patches.

Shapes: `T` tokens, `P` image patches, `C` values of a patch, `I` images.

Prompt and answer are tokenised apart, at the very place where generation will begin, so that what
is trained is what is generated.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2VLImageProcessorPil

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.ordering import ordered_objects
from coordexp.data.record import Record
from coordexp.errors import CheckpointError, InputError, RecordError
from coordexp.rendering.conversation import Conversation
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.positions import mrope_positions
from coordexp.rendering.style import RenderingStyle

IGNORE_INDEX = -100
IMAGE_TOKEN = "<|image_pad|>"


@dataclass(frozen=True, slots=True)
class Example:
    """One encoded record.

    Args:
        input_ids: Prompt, and the answer where there is one.
        labels: The answer and its end-of-turn token; -100 elsewhere.
        position_ids: mRoPE rows: temporal, height, width.
        pixel_values: Patches of all images.
        image_grid_thw: Frames and patches along height and width of each image.
    """

    input_ids: Int[Tensor, " T"]
    labels: Int[Tensor, " T"]
    position_ids: Int[Tensor, "3 T"]
    pixel_values: Float[Tensor, "P C"]
    image_grid_thw: Int[Tensor, "I 3"]

    def __len__(self) -> int:
        return len(self.input_ids)


class Encoder:
    """Turns records into examples, the same way in training and inference.

    Args:
        tokenizer: Of the base, coord tokens included where the style uses them.
        image_processor: Of the base.
        style: What is asked and how it is answered.

    Raises:
        CheckpointError: If the tokenizer lacks the image placeholder or a usable chat template.
        InputError: If a prompt of the style holds a special token, such as `<|im_end|>`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Qwen2VLImageProcessorPil,
        style: RenderingStyle,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.style = style
        self.conversation = Conversation(tokenizer, system_prompt=style.system_prompt)
        (self.end_of_turn_id,) = self._ids(self.conversation.end_of_turn)
        image_ids = self._ids(IMAGE_TOKEN)
        if len(image_ids) != 1:
            raise CheckpointError(f"the tokenizer has no {IMAGE_TOKEN} token; is it a Qwen-VL one?")
        self.image_token_id = image_ids[0]
        self._reserved = _reserved_tokens(tokenizer, style.alphabet)
        for key, text in (
            ("system_prompt", style.system_prompt),
            ("user_prompt", style.user_prompt),
        ):
            if text is not None and (token := self._reserved_token(text)):
                raise InputError(f"custom.{key}: holds {token}, which only the chat template may")

    def encode(
        self, record: Record, picture: Image.Image, *, seed: int, epoch: int, index: int
    ) -> Example:
        """Return the example of a record with its answer, for teacher forcing.

        Raises:
            RecordError: If its text holds a special token, which would end the answer or stand for
                a picture.
        """
        for place, item in enumerate(record.objects):
            if token := self._reserved_token(item.desc):
                raise RecordError(f"desc: holds the special token {token}", obj=place)
        objects = ordered_objects(
            record,
            self.style.object_ordering,
            seed=seed,
            epoch=epoch,
            index=index,
            alphabet=self.style.alphabet,
        )
        answer = render_answer(
            objects,
            record.width,
            record.height,
            alphabet=self.style.alphabet,
            json_format=self.style.json_format,
            coord_tokens=self.style.coord_tokens,
        )
        return self._example(record, picture, self._ids(answer + self.conversation.end_of_turn))

    def encode_prompt(self, record: Record, picture: Image.Image) -> Example:
        """Return the example up to where the answer begins, for generation."""
        return self._example(record, picture, [])

    def _reserved_token(self, text: str) -> str | None:
        found = self._reserved.search(text)
        return None if found is None else found.group()

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _example(self, record: Record, picture: Image.Image, answer_ids: Sequence[int]) -> Example:
        if record.prompt is not None and (token := self._reserved_token(record.prompt)):
            raise RecordError(f"prompt: holds the special token {token}")
        patches = self.image_processor(images=[picture], return_tensors="pt")
        grids = patches["image_grid_thw"]
        merge_size = self.image_processor.merge_size
        prompt_ids = self._ids(self.conversation.prompt(record.prompt or self.style.user_prompt))
        prompt_ids = _with_placeholders(
            prompt_ids, self.image_token_id, int(grids.prod()) // merge_size**2
        )
        ids = [*prompt_ids, *answer_ids]
        positions = mrope_positions(
            [token_id == self.image_token_id for token_id in ids],
            [(int(t), int(h), int(w)) for t, h, w in grids],
            merge_size,
        )
        return Example(
            input_ids=torch.tensor(ids),
            labels=torch.tensor([IGNORE_INDEX] * len(prompt_ids) + list(answer_ids)),
            position_ids=torch.tensor(positions),
            pixel_values=patches["pixel_values"],
            image_grid_thw=grids,
        )


def _reserved_tokens(
    tokenizer: PreTrainedTokenizerBase, alphabet: CoordAlphabet
) -> re.Pattern[str]:
    """Return what finds the special tokens, but for coord tokens, in a text."""
    allowed = {*alphabet.tokens(), alphabet.wildcard}
    added = tokenizer.added_tokens_decoder.values()
    special = [token.content for token in added if token.special and token.content not in allowed]
    return re.compile("|".join(re.escape(content) for content in special))


def _with_placeholders(ids: list[int], image_token_id: int, count: int) -> list[int]:
    """Return the ids with the one image placeholder repeated for every merged patch."""
    if ids.count(image_token_id) != 1:
        raise CheckpointError(
            f"expected the chat template to leave one {IMAGE_TOKEN} for the picture, "
            f"got {ids.count(image_token_id)}"
        )
    place = ids.index(image_token_id)
    return [*ids[:place], *[image_token_id] * count, *ids[place + 1 :]]
