import logging
from collections.abc import Sequence

import pytest
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.errors import CoordExpError, InputError
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.inference.run.ask import AskOptions, HalvingAsk, Question, build_ask
from coordexp.inference.run.predictor import Predictor
from tests.inference.oracle import empty_prompt


def questions(count: int) -> list[Question]:
    return [Question(empty_prompt(), Image.new("RGB", (1, 1))) for _ in range(count)]


class SmallMemory:
    """Answers up to `room` questions at once."""

    def __init__(self, room: int, message: str = "CUDA out of memory. Tried 2 GiB") -> None:
        self.room = room
        self.message = message
        self.sizes: list[int] = []

    def __call__(self, asked: Sequence[Question]) -> list[Answer]:
        self.sizes.append(len(asked))
        if len(asked) > self.room:
            raise RuntimeError(self.message)
        place = sum(size for size in self.sizes if size <= self.room)
        return [Answer(str(place), (), (), "eos") for _ in asked]


def test_memory_that_runs_out_halves_the_batch_for_good(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = SmallMemory(3)
    ask = HalvingAsk(memory)
    with caplog.at_level(logging.WARNING):
        assert len(ask(questions(8))) == 8
        assert len(ask(questions(5))) == 5
    assert memory.sizes == [8, 4, 2, 2, 2, 2, 2, 2, 1]
    assert caplog.messages == [
        "out of memory with 8 pictures at once; going on with 4",
        "out of memory with 4 pictures at once; going on with 2",
    ]


def test_memory_for_no_picture_at_all_is_an_error() -> None:
    with pytest.raises(CoordExpError, match="out of memory with a single picture"):
        HalvingAsk(SmallMemory(0))(questions(2))


def test_any_other_failure_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        HalvingAsk(SmallMemory(0, "shape mismatch"))(questions(2))


def test_no_free_answer_ends_at_its_repeats(predictor: Predictor) -> None:
    options = AskOptions(
        constrain=False, restrict_to=None, max_new_tokens=5, stop=RepeatStop(0.95, 2)
    )
    with pytest.raises(InputError, match="--dedup with stop ends answers inside our own grammar"):
        build_ask(predictor, options)


def test_nothing_can_be_restricted_freely(predictor: Predictor) -> None:
    options = AskOptions(constrain=False, restrict_to=("cat",), max_new_tokens=5)
    with pytest.raises(InputError, match="--constrain on"):
        build_ask(predictor, options)
