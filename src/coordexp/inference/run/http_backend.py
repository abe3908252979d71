"""Asking a server about records, with several requests under way."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.client.asked_model import served_name
from coordexp.client.detect import Client
from coordexp.client.request import Body, ServedAsk
from coordexp.data.contract.record import Record
from coordexp.errors import InputError
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predict import AnswerFile, Summary, answer_file
from coordexp.inference.run.ranks import Ranks
from coordexp.rendering.style import RenderingStyle

logger = logging.getLogger(__name__)


class ServedQuestions:
    """Makes requests of records.

    Args:
        client: Asks the server.
        classes: What a model that was trained with class lists is asked for; none for all.
    """

    def __init__(self, client: Client, classes: Sequence[str]) -> None:
        self._client = client
        self._question = self.style.question_for(classes)

    @property
    def style(self) -> RenderingStyle:
        """How the model was trained to be asked."""
        return self._client.model.style

    @property
    def end_marks(self) -> tuple[str, ...]:
        """Of the model's family."""
        return self._client.model.end_marks

    def of_its_own(self) -> "ServedQuestions":
        """Return itself: a client may be used by many threads."""
        return self

    def question(self, record: Record, picture: Image.Image) -> Body:
        """Return the body of a request."""
        asked = replace(record, prompt=record.prompt or self._question)
        return self._client.request(asked, picture)


def check_server_options(asking: AskOptions) -> None:
    """Refuse what only who starts the server can decide.

    Raises:
        InputError: If the answers are to be kept inside another grammar than the server's.
    """
    if asking.restrict_to is not None or not asking.ordered:
        raise InputError(
            "--restrict-to and --corners are the server's to decide; leave them out. --classes "
            "filters what it says"
        )


def ask_server(
    model: Path,
    data: Path,
    out: Path,
    options: PredictOptions,
    ranks: Ranks,
    then: Callable[[Summary], None],
) -> Summary:
    """Write the predictions of a server; see `answer_file`.

    Args:
        model: The folder that says how the served model is asked.
        data: JSONL of records, a picture, or a folder of them.
        out: JSONL of predictions.
        options: How; `batch_size` requests are under way at once.
        ranks: Which share is this process's.
        then: As in `AnswerFile`.

    Raises:
        CheckpointError: If the folder does not say how the model is asked.
        InputError: If the server refuses a question, or answers as it was started and not freely.
        CoordExpError: If it cannot be reached, or its answers cannot be scored.
    """
    in_flight = options.batch_size
    client = Client(
        options.url or "",
        model,
        ask=ServedAsk(max_tokens=options.asking.max_new_tokens, constrain=options.asking.constrain),
        connections=in_flight,
    )
    if not options.asking.constrain and not client.is_vllm:
        raise InputError(
            "--constrain off: the server's to decide, unless it is vLLM's (coordexp serve "
            "--constrain off); leave it out"
        )
    if Path(client.name).name != served_name(model):
        logger.warning(
            "the server calls its model %s; its answers are read as those of %s", client.name, model
        )

    def ask(bodies: Sequence[Body]) -> list[Answer]:
        return [client.sent(body) for body in bodies]

    questions = ServedQuestions(client, options.rows.classes or ())
    files = AnswerFile(questions, data, out, model=str(model.resolve()), then=then)
    alone = replace(options, batch_size=1)
    return answer_file(ask, files, alone, ranks=ranks, in_flight=in_flight)
