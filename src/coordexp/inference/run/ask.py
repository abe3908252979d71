"""How a model is asked: inside the grammar, or freely, and what happens when memory runs out."""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate.utils.memory import should_reduce_batch_size
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.errors import CoordExpError, InputError
from coordexp.inference.decode.constrained import ConstrainedDecoder
from coordexp.inference.decode.free import generate_answers
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.run.predictor import Predictor
from coordexp.rendering.encode import Example

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

RESTRICTED_FREELY = (
    "restrict_to needs --constrain on, and a model with coord tokens; classes filters what any "
    "model says"
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
    """

    constrain: bool
    restrict_to: tuple[str, ...] | None
    max_new_tokens: int
    ordered: bool = True


def build_ask(predictor: Predictor, options: AskOptions) -> Ask:
    """Return what asks a model in transformers.

    Raises:
        InputError: If descs are restricted, but nothing can keep the model to them.
    """
    vocab = predictor.vocab
    limit = options.max_new_tokens
    if options.constrain and vocab is not None:
        grammar = AnswerGrammar(predictor.encoder, restrict_to=options.restrict_to)
        decoder = ConstrainedDecoder(
            predictor.model, predictor.encoder, vocab, grammar, ordered=options.ordered
        )

        def ask_inside(questions: Sequence[Question]) -> list[Answer]:
            prompts = [question.prompt for question in questions]
            return decoder.answers(prompts, max_new_tokens=limit)

        return ask_inside
    if options.restrict_to is not None:
        raise InputError(RESTRICTED_FREELY)

    def ask_freely(questions: Sequence[Question]) -> list[Answer]:
        prompts = [question.prompt for question in questions]
        return generate_answers(
            predictor.model, predictor.encoder, prompts, vocab=vocab, max_new_tokens=limit
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
