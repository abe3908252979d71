"""How a model is asked: inside the grammar, or freely, and what happens when memory runs out."""

import copy
import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol, TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.data.contract.record import Record
from coordexp.errors import CoordExpError, InputError
from coordexp.inference.decode.constrained import ConstrainedDecoder
from coordexp.inference.decode.free import generate_answers
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.inference.run.predictor import Predictor
from coordexp.rendering.encode import Encoder, Example
from coordexp.rendering.style import RenderingStyle

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A picture to be asked about.

    Args:
        prompt: From `Encoder.encode_prompt`.
        picture: Which the prompt holds as patches, for engines that make their own.
    """

    prompt: Example
    picture: Image.Image


Ask = Callable[[Sequence[Question]], list[Answer]]
LimitedAsk = Callable[[Sequence[Question], int], list[Answer]]

Made_co = TypeVar("Made_co", covariant=True)


class MakesQuestions(Protocol[Made_co]):
    """Makes questions about records, of the kind that some backend can be asked."""

    @property
    def style(self) -> RenderingStyle:
        """How the model was trained to be asked, and to answer."""

    @property
    def end_marks(self) -> tuple[str, ...]:
        """Of the model's family."""

    def of_its_own(self) -> "MakesQuestions[Made_co]":
        """Return the same for another thread."""

    def question(self, record: Record, picture: Image.Image) -> Made_co:
        """Return the question about a record.

        Raises:
            RecordError: If its prompt holds a special token, or the picture cannot be looked at.
        """


class EncodedQuestions:
    """Makes questions of token ids and patches.

    Args:
        encoder: Makes these.
        with_patches: Whether what answers takes the pictures as the encoder's patches. An engine
            that makes its own is given many at once, whose patches would fill the memory.
    """

    def __init__(self, encoder: Encoder, *, with_patches: bool = True) -> None:
        self._encoder = encoder
        self._with_patches = with_patches

    @property
    def style(self) -> RenderingStyle:
        """How the model was trained to be asked."""
        return self._encoder.style

    @property
    def end_marks(self) -> tuple[str, ...]:
        """Of the model's family."""
        return self._encoder.inputs.family.end_marks

    def of_its_own(self) -> "EncodedQuestions":
        """Return the same with another tokenizer: one cannot be used by two threads at once."""
        encoder = self._encoder
        own = copy.deepcopy(encoder.tokenizer)
        return EncodedQuestions(
            Encoder(own, encoder.inputs, encoder.style), with_patches=self._with_patches
        )

    def question(self, record: Record, picture: Image.Image) -> Question:
        """Return the question about a record."""
        prompt = self._encoder.encode_prompt(record, picture)
        if not self._with_patches:
            prompt = replace(prompt, pixel_values=torch.empty(0, prompt.pixel_values.shape[1]))
        return Question(prompt, picture)


RESTRICTED_FREELY = (
    "restrict_to needs --constrain on, and a model with coord tokens; classes filters what any "
    "model says"
)


STOPPED_FREELY = (
    "--dedup with stop ends answers inside our own grammar: --constrain on, --backend hf, and a "
    "model with coord tokens; without stop repeats are left out of any answer"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """How to ask.

    Args:
        constrain: Whether answers are kept inside the grammar; only a model that writes coord
            tokens can be.
        restrict_to: The only descs there may be; None for any.
        max_new_tokens: Longest answer.
        ordered: Whether the grammar keeps a box's second corner from being smaller than its first.
        stop: What ends an answer inside the grammar that repeats itself; None for nothing.
    """

    constrain: bool
    restrict_to: tuple[str, ...] | None
    max_new_tokens: int
    ordered: bool = True
    stop: RepeatStop | None = None

    def to_json(self) -> dict[str, object]:
        """Return what answers depend on, as JSON values."""
        told: dict[str, object] = asdict(self)
        if self.stop is None:
            del told["stop"]
        return told


def build_ask(predictor: Predictor, options: AskOptions) -> Ask:
    """Return what asks a model in transformers.

    Raises:
        InputError: If descs are restricted, but nothing can keep the model to them.
    """
    ask = build_limited_ask(predictor, options, with_coord_log_p=False)
    return lambda questions: ask(questions, options.max_new_tokens)


def build_limited_ask(
    predictor: Predictor, options: AskOptions, *, with_coord_log_p: bool
) -> LimitedAsk:
    """Return what asks a model in transformers, each time for answers of another length.

    Args:
        predictor: The model.
        options: How; the longest answer is given with the questions.
        with_coord_log_p: Whether answers tell the log probabilities of all bins.

    Raises:
        InputError: If descs are restricted, but nothing can keep the model to them.
    """
    vocab = predictor.vocab
    if options.constrain and vocab is not None:
        decoder = ConstrainedDecoder(
            predictor.model,
            predictor.encoder,
            vocab,
            AnswerGrammar(predictor.encoder, restrict_to=options.restrict_to),
            ordered=options.ordered,
            with_coord_log_p=with_coord_log_p,
            stop=options.stop,
        )

        def ask_inside(questions: Sequence[Question], limit: int) -> list[Answer]:
            prompts = [question.prompt for question in questions]
            return decoder.answers(prompts, max_new_tokens=limit)

        return ask_inside
    if options.stop is not None:
        raise InputError(STOPPED_FREELY)
    if options.restrict_to is not None:
        raise InputError(RESTRICTED_FREELY)

    def ask_freely(questions: Sequence[Question], limit: int) -> list[Answer]:
        return generate_answers(
            predictor.model,
            predictor.encoder,
            [question.prompt for question in questions],
            vocab=vocab,
            max_new_tokens=limit,
            with_coord_log_p=with_coord_log_p,
        )

    return ask_freely


class HalvingAsk:
    """Asks in smaller batches once memory has run out, and says so.

    Args:
        ask: What is asked.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._most: int | None = None

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answer to each question.

        Raises:
            CoordExpError: If memory does not suffice for one picture.
        """
        answers: list[Answer] = []
        while len(answers) < len(questions):
            size = min(self._most or len(questions), len(questions) - len(answers))
            got = self._try(questions[len(answers) : len(answers) + size])
            if got is None:
                self._halve(size)
            else:
                answers += got
        return answers

    def _try(self, questions: Sequence[Question]) -> list[Answer] | None:
        try:
            return self._ask(questions)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            return None  # only here is everything that the traceback held let go

    def _halve(self, size: int) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise CoordExpError(
                "out of memory with a single picture; lower max_pixels in the training "
                "configuration, or use a larger device"
            )
        self._most = size // 2
        logger.warning("out of memory with %d pictures at once; going on with %d", size, self._most)
