import threading
from collections.abc import Sequence

import pytest
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.errors import RecordError
from coordexp.inference.run.ask import Question
from coordexp.serving.desk import Asking, Desk
from tests.inference.run.test_ask import empty_prompt

PICTURE = Image.new("RGB", (1, 1))


class Model:
    """Answers when it is let, and notes what it was asked together."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.let = threading.Event()
        self.busy = threading.Event()
        self.fails = False

    def __call__(self, questions: Sequence[Question], limit: int) -> list[Answer]:
        self.busy.set()
        assert self.let.wait(20)
        self.batches.append((len(questions), limit))
        if self.fails:
            raise RuntimeError("a bug")
        return [Answer("{}", ("{}",), (1.0,), "eos") for _ in questions]


def read(content: bytes) -> Asking:
    if content == b"bad":
        raise RecordError("no picture")
    return Asking(Question(empty_prompt(), PICTURE), limit=int(content), top_logprobs=None)


def test_what_came_meanwhile_is_asked_together_by_its_limit() -> None:
    model = Model()
    desk = Desk(read, model, batch_size=3, most=9)
    first = desk.submit(b"5")
    assert model.busy.wait(20)
    others = [desk.submit(content) for content in (b"5", b"5", b"7", b"5", b"5", b"5", b"5")]
    desk.submit(b"5").cancel()  # nobody waits for it any more
    with pytest.raises(RecordError):
        desk.submit(b"bad").result(20)  # read after all the others
    model.let.set()
    assert first.result(20).answer.text == "{}"
    for other in others:
        other.result(20)
    desk.close()
    assert model.batches == [(1, 5), (2, 5), (1, 7), (3, 5), (1, 5)]


def test_a_batch_that_fails_ends_neither_the_queue_nor_the_others() -> None:
    model = Model()
    model.fails = True
    model.let.set()
    desk = Desk(read, model, batch_size=3, most=9)
    with pytest.raises(RuntimeError, match="a bug"):
        desk.submit(b"5").result(20)
    model.fails = False
    assert desk.submit(b"5").result(20).answer.text == "{}"
    desk.close()


def test_closing_answers_what_is_here() -> None:
    model = Model()
    desk = Desk(read, model, batch_size=2, most=9)
    futures = [desk.submit(b"5") for _ in range(5)]
    threading.Timer(0.05, model.let.set).start()
    desk.close()
    assert all(future.done() for future in futures)


def test_it_is_full_when_it_says_so() -> None:
    model = Model()
    model.let.set()
    desk = Desk(read, model, batch_size=1, most=2)
    desk.enter()
    assert not desk.is_full
    desk.enter()
    assert desk.is_full
    desk.leave()
    assert not desk.is_full
    desk.close()
