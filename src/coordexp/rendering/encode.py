"""One record and its picture as one example of token ids, labels and patches.

Shapes: `T` tokens, `P` image patches, `C` values of a patch, `I` images.

Prompt and answer are tokenised apart, at the very place where generation will begin, so that what
is trained is what is generated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coordexp.data.contract.chat import Chat
from coordexp.data.contract.record import Record
from coordexp.data.plan.class_lists import ClassLists
from coordexp.data.plan.ordering import ordered_objects
from coordexp.errors import CheckpointError, InputError
from coordexp.families.inputs import ModelInputs
from coordexp.rendering.cells import check_cells
from coordexp.rendering.conversation import Conversation
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.listed_questions import ListedQuestions
from coordexp.rendering.reserved_tokens import ReservedTokens
from coordexp.rendering.style import RenderingStyle
from coordexp.rendering.token_types import NO_TYPE, character_types, token_types

IGNORE_INDEX = -100
# Token ids, and whether they are an answer, which is labelled.
Segment = tuple[Sequence[int], bool]


@dataclass(frozen=True, slots=True)
class Example:
    """One encoded record.

    Args:
        input_ids: Prompt, and the answer where there is one.
        labels: The answer and its end-of-turn token; -100 elsewhere.
        position_ids: mRoPE rows: temporal, height, width.
        pixel_values: Patches of all images.
        image_grid_thw: Frames and patches along height and width of each image.
        token_types: What each token of a record's answer is, where the encoder was asked for it;
            `coordexp.rendering.token_types`.
    """

    input_ids: Int[Tensor, " T"]
    labels: Int[Tensor, " T"]
    position_ids: Int[Tensor, "3 T"]
    pixel_values: Float[Tensor, "P C"]
    image_grid_thw: Int[Tensor, "I 3"]
    token_types: Int[Tensor, " T"] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)


class Encoder:
    """Turns records into examples, the same way in training and inference.

    Args:
        tokenizer: Of the base, coord tokens included where the style uses them.
        inputs: Of the base: how its family's model has its pictures and positions.
        style: What is asked and how it is answered.
        with_token_types: Whether examples say what each token is, for figures.
        class_lists: Draws the classes that an example's question names; None asks all alike.

    Raises:
        CheckpointError: If the tokenizer lacks the image placeholder or a usable chat template.
        InputError: If a prompt of the style holds a special token, such as `<|im_end|>`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        inputs: ModelInputs,
        style: RenderingStyle,
        *,
        with_token_types: bool = False,
        class_lists: ClassLists | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.inputs = inputs
        self.style = style
        self.with_token_types = with_token_types
        self.conversation = Conversation(tokenizer, system_prompt=style.system_prompt)
        (self.end_of_turn_id,) = self._ids(self.conversation.end_of_turn)
        family = inputs.family
        image_ids = self._ids(family.image_token)
        if len(image_ids) != 1:
            raise CheckpointError(
                f"the tokenizer has no {family.image_token} token; is it one of {family.name}?"
            )
        self.image_token_id = image_ids[0]
        self.reserved = ReservedTokens(tokenizer, style.alphabet)
        for key, text in (
            ("system_prompt", style.system_prompt),
            ("user_prompt", style.user_prompt),
        ):
            if text is not None and (token := self.reserved.found_in(text)):
                raise InputError(f"custom.{key}: holds {token}, which only the chat template may")
        # Most records ask it, and rendering it took longer than their answers.
        self._usual_prompt_ids = self._question_ids(style.user_prompt)
        self.listed_questions = self._listed(class_lists)

    def encode(
        self, record: Record, picture: Image.Image, *, seed: int, epoch: int, index: int
    ) -> Example:
        """Return the example of a record with its answer, for teacher forcing.

        Raises:
            RecordError: If its text holds a special token, which would end the answer or stand for
                a picture, or if the picture cannot be looked at.
        """
        record = self.posed(record, seed=seed, epoch=epoch, index=index)
        answer, descs = self._answer(record, seed=seed, epoch=epoch, index=index)
        example = self._example(record, picture, self._ids(answer))
        return self._typed(example, answer, descs) if self.with_token_types else example

    def posed(self, record: Record, *, seed: int, epoch: int, index: int) -> Record:
        """Return a record as `encode` asks it: with the classes of its question, where it has some.

        Raises:
            RecordError: If a question names classes and there is none to name, or one of them holds
                a special token.
        """
        if self.listed_questions is None:
            return record
        posed = self.listed_questions.pose(record, seed=seed, epoch=epoch, index=index)
        self.reserved.check_prompt(posed)
        return posed

    def encode_prompt(self, record: Record, picture: Image.Image) -> Example:
        """Return the example up to where the answer begins, for generation.

        Raises:
            RecordError: If its prompt holds a special token, or the picture cannot be looked at.
        """
        return self._example(record, picture, [])

    def length(self, record: Record) -> int:
        """Return how many tokens `encode` will give the record, without opening its picture.

        Exact: the tokens of a picture follow from its width and height, and the order of the
        objects moves tokens without changing their number. Where questions name classes it is a
        bound for every epoch, `ListedQuestions.longest_prompt`.

        Raises:
            RecordError: As `encode` does.
        """
        answer, _ = self._answer(record, seed=0, epoch=0, index=0)
        length = self.prompt_length(record) + len(self._ids(answer))
        if self.listed_questions is None or record.prompt:
            return length
        self.posed(record, seed=0, epoch=0, index=0)
        return length - len(self._usual_prompt_ids) + self.listed_questions.longest_prompt(record)

    def prompt_length(self, record: Record) -> int:
        """Return how many tokens `encode_prompt` will give the record; as exact as `length`.

        Raises:
            RecordError: As `encode_prompt` does.
        """
        check_cells(record, self.inputs.grid)
        return len(self._prompt_ids(record)) - 1 + self._image_tokens(record.file_size)

    def encode_chat(self, chat: Chat, pictures: Sequence[Image.Image]) -> Example:
        """Return the example of a chat as it stands; each answer and its end are labelled.

        The style's prompts are not used, and there may be no picture.

        Args:
            chat: The conversation.
            pictures: One for each of its images.

        Raises:
            RecordError: If its text holds a special token.
        """
        return self._assembled(self._chat_segments(chat), pictures)

    def chat_length(self, chat: Chat, sizes: Sequence[tuple[int, int]]) -> int:
        """Return how many tokens `encode_chat` will give a chat whose pictures have these sizes.

        Raises:
            RecordError: As `encode_chat` does, or if a picture is too thin.
        """
        text = sum(len(ids) for ids, _ in self._chat_segments(chat))
        return text + sum(self._image_tokens(size) - 1 for size in sizes)

    def _listed(self, lists: ClassLists | None) -> ListedQuestions | None:
        question = self.style.class_prompt
        if lists is None:
            return None
        if question is None:
            raise TypeError("class lists need a question with a place for them")
        for name in lists.vocabulary:
            if token := self.reserved.found_in(name):
                raise InputError(f"custom.class_list: the class {name!r} holds {token}")
        return ListedQuestions(
            lists,
            question,
            prompt_of=self.conversation.prompt,
            count=lambda text: len(self._ids(text)),
        )

    def _chat_segments(self, chat: Chat) -> list[Segment]:
        self.reserved.check_chat(chat)
        segments = self.conversation.segments(chat.messages)
        return [(self._ids(text), is_answer) for text, is_answer in segments]

    def _image_tokens(self, size: tuple[int, int]) -> int:
        return self.inputs.count_tokens(*size)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _prompt_ids(self, record: Record) -> list[int]:
        """Return the prompt with one placeholder for the picture."""
        if not record.prompt:
            return self._usual_prompt_ids
        self.reserved.check_prompt(record)
        return self._question_ids(record.prompt)

    def _question_ids(self, question: str) -> list[int]:
        return self._ids(self.conversation.prompt(question))

    def _answer(
        self, record: Record, *, seed: int, epoch: int, index: int
    ) -> tuple[str, list[str]]:
        """Return the answer with what ends the turn, and the descs in it, in order."""
        self.reserved.check_descs(record)
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
        return answer + self.conversation.end_of_turn, [item.desc for item in objects]

    def _typed(self, example: Example, answer: str, descs: Sequence[str]) -> Example:
        tokens = self.tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = tokens["offset_mapping"]
        characters = character_types(answer, descs, self.style.json_format)
        types = torch.full_like(example.input_ids, NO_TYPE)
        types[-len(offsets) :] = token_types(offsets, characters)
        return replace(example, token_types=types)

    def _example(self, record: Record, picture: Image.Image, answer_ids: Sequence[int]) -> Example:
        check_cells(record, self.inputs.grid)
        return self._assembled([(self._prompt_ids(record), False), (answer_ids, True)], [picture])

    def _assembled(self, segments: Sequence[Segment], pictures: Sequence[Image.Image]) -> Example:
        found = sum(list(segment).count(self.image_token_id) for segment, _ in segments)
        if found != len(pictures):
            token = self.inputs.family.image_token
            raise CheckpointError(
                f"expected the chat template to leave one {token} for each picture "
                f"({len(pictures)}), got {found}"
            )
        patches, grids = self.inputs.encode(pictures)
        sizes: list[tuple[int, int, int]] = [(t, h, w) for t, h, w in grids.tolist()]
        placeholders = iter([self.inputs.tokens_of(size) for size in sizes])
        ids: list[int] = []
        labels: list[int] = []
        for segment, is_answer in segments:
            tokens = _with_placeholders(segment, self.image_token_id, placeholders)
            ids += tokens
            labels += tokens if is_answer else [IGNORE_INDEX] * len(tokens)
        is_image = [token_id == self.image_token_id for token_id in ids]
        positions = self.inputs.positions(is_image, sizes)
        return Example(
            input_ids=torch.tensor(ids),
            labels=torch.tensor(labels),
            position_ids=torch.tensor(positions),
            pixel_values=patches,
            image_grid_thw=grids,
        )


def _with_placeholders(ids: Sequence[int], image_token_id: int, counts: Iterator[int]) -> list[int]:
    """Return the ids with each image placeholder repeated for every merged patch of its picture."""
    tokens: list[int] = []
    for token in ids:
        tokens += [token] * next(counts, 1) if token == image_token_id else (token,)
    return tokens
