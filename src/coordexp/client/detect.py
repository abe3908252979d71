"""The client of a server: a picture in, detections out."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.answers.class_filter import asked_classes
from coordexp.answers.grammar_text import answer_grammar_text
from coordexp.answers.prediction_lines import CoordDecode, Found, RowOptions, scored_objects
from coordexp.client.asked_model import AskedModel, load_asked_model
from coordexp.client.picture import Picture, fit_picture, open_picture, picture_url
from coordexp.client.reply import read_reply
from coordexp.client.request import Body, ServedAsk, chat_request
from coordexp.client.transport import Patience, Transport
from coordexp.data.contract.record import Record
from coordexp.errors import CoordExpError, InputError
from coordexp.rendering.cells import check_cells

logger = logging.getLogger(__name__)


class Client:
    """Asks a model that is served by `coordexp serve`, vLLM or another server of that kind.

    It may be used by many threads at once.

    Args:
        url: The server's, such as `http://127.0.0.1:8000`.
        model: The served model's folder, or one with its `coordexp.json`, `config.json` and
            `preprocessor_config.json` alone: they say how it is asked.
        name: Its name on the server; None where the server has only one.
        ask: How it is asked.
        patience: How long the server is waited for.
        connections: How many requests may be under way.
        api_key: For servers that want one.

    Raises:
        CheckpointError: If the folder does not say how the model is asked.
        InputError: If the URL is none.
    """

    def __init__(
        self,
        url: str,
        model: Path | str | AskedModel,
        *,
        name: str | None = None,
        ask: ServedAsk | None = None,
        patience: Patience | None = None,
        connections: int = 8,
        api_key: str | None = None,
    ) -> None:
        self.model = model if isinstance(model, AskedModel) else load_asked_model(model)
        self._name = name
        self._ask = ask or ServedAsk()
        self._transport = Transport(
            url, patience=patience or Patience(), connections=connections, api_key=api_key
        )

    @cached_property
    def name(self) -> str:
        """The model's name on the server.

        Raises:
            CoordExpError: If the server cannot be reached, or tells no names.
            InputError: If it has several models and none was named.
        """
        if self._name is not None:
            return self._name
        names = [*self._owners]
        if len(names) != 1:
            raise InputError(
                f"{self._transport.url}: serves {', '.join(names) or 'no model'}; name one of them"
            )
        return names[0]

    @cached_property
    def is_vllm(self) -> bool:
        """Whether vLLM serves the model; false where the server does not tell."""
        try:
            return self._owners.get(self.name) == "vllm"
        except CoordExpError:
            if self._name is None:
                raise
            return False  # the model was named, so that nobody had to ask

    @cached_property
    def _owners(self) -> Mapping[str, str]:
        """The server's models, and the kind of server of each."""
        try:
            models = json.loads(self._transport.ask("/v1/models"))["data"]
            return {str(each["id"]): str(each.get("owned_by")) for each in models}
        except (ValueError, LookupError, TypeError, AttributeError):
            raise CoordExpError(
                f"{self._transport.url}: tells no models at /v1/models; is it a server of the kind "
                "of coordexp serve or vLLM?"
            ) from None

    @cached_property
    def _asking(self) -> ServedAsk:
        """How this server is asked: vLLM's with the grammar."""
        vocab = self.model.vocab
        if not self._ask.constrain or vocab is None or not self.is_vllm:
            return self._ask
        grammar = answer_grammar_text(
            self.model.style, vocab, restrict_to=None, max_new_tokens=self._ask.max_tokens
        )
        inside = {"structured_outputs": {"grammar": grammar}}
        return replace(self._ask, extra={**inside, **self._ask.extra})

    def detect(
        self,
        image: Picture,
        *,
        prompt: str | None = None,
        classes: Sequence[str] | None = None,
        coord_decode: CoordDecode = "token",
        dedup_iou: float | None = None,
    ) -> Found:
        """Return what the model finds in a picture; coordinates are pixels of it.

        Args:
            image: A file, the content of one, or an upright picture.
            prompt: Asks this instead of what the model was trained on.
            classes: Keep only these descs; None keeps all. A model that was trained with class
                lists is also asked for these alone.
            coord_decode: A coordinate is the token's bin, or the expectation around it.
            dedup_iou: Overlap from which an object repeats another; None keeps all.

        Raises:
            RecordError: If the picture cannot be read, or the prompt holds a special token.
            InputError: If the list of classes is empty, or the server refuses the question.
            CoordExpError: If there is no answer, or one that cannot be scored.
        """
        record, picture = open_picture(image)
        asked = None if classes is None else asked_classes(classes, self.model.classes)
        record = replace(record, prompt=prompt or self.model.style.question_for(asked or ()))
        options = RowOptions(
            coord_decode=coord_decode,
            dedup_iou=dedup_iou,
            classes=asked,
        )
        answer = self.answer(record, picture)
        return scored_objects(
            record, answer, self.model.style, options, end_marks=self.model.end_marks
        )

    def answer(self, record: Record, picture: Image.Image) -> Answer:
        """Return what the model says of a record's picture; raises as `detect` does."""
        return self.sent(self.request(record, picture))

    def request(self, record: Record, picture: Image.Image) -> Body:
        """Return the question about a record.

        Raises:
            RecordError: If its prompt holds a special token, or the picture cannot be looked at.
        """
        check_cells(record, self.model.grid)
        return chat_request(
            self.model.style,
            model=self.name,
            prompt=record.prompt,
            url=picture_url(fit_picture(picture, self.model.grid)),
            ask=self._asking,
        )

    def sent(self, body: Body) -> Answer:
        """Return the answer to a question of `request`."""
        reply = self._transport.ask("/v1/chat/completions", body)
        return read_reply(reply, self.model.style, self.model.end_marks)
