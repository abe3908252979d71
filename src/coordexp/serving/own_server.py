"""The own server: a model on transformers behind OpenAI's route, one process.

For trying things, for small models and for adapters; where throughput counts, vLLM is the server.
"""

import asyncio
import copy
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from coordexp.client.asked_model import served_name
from coordexp.data.contract.record import Record
from coordexp.data.files.image import decode_image
from coordexp.inference.run.ask import AskOptions, Question, build_limited_ask
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.rendering.encode import Encoder
from coordexp.serving.address import bound_socket
from coordexp.serving.app import AppLimits, ServedApp
from coordexp.serving.chat_body import read_chat_body
from coordexp.serving.completion import completion_json
from coordexp.serving.desk import Answered, Asking, Desk

_BODY_BYTES = 32 * 2**20
_BODY_S = 30.0
_MOST_PIXELS = 50_000_000
# Formats that browsers know. Pillow knows many more, and has a decoder for each that may be broken.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP")
_LAST_ANSWERS_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """How a model is served.

    Args:
        host: Where it listens.
        port: 0 takes one that is free.
        asking: How the model is asked; no answer is longer than it says.
        batch_size: Questions at once.
        queue: Requests that may be here at once.
    """

    host: str
    port: int
    asking: AskOptions
    batch_size: int
    queue: int


def serve_model(model: Path, server: OwnServer, ready: Callable[[int, Predictor], None]) -> None:
    """Serve a model until the process is told to end (SIGTERM, SIGINT).

    What is under way then is answered, for half a minute at most.

    Args:
        model: A merged model, an adapter checkpoint or a stock model.
        server: How.
        ready: Is called with the port and the model once requests are taken.

    Raises:
        CheckpointError: If the model cannot be used.
        InputError: If the address cannot be listened on.
    """
    with bound_socket(server.host, server.port) as bound:  # what is taken is said at once
        predictor = load_predictor(model)
        app = build_app(predictor, served_name(model), server)
        config = uvicorn.Config(
            app.starlette(),
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
        )
        port = bound.getsockname()[1]
        # uvicorn ends in peace and then raises the signal once more, for whoever held it before.
        before = signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
        try:
            with suppress(KeyboardInterrupt):
                asyncio.run(_serve(uvicorn.Server(config), bound, lambda: ready(port, predictor)))
        finally:
            signal.signal(signal.SIGTERM, before)


def build_app(predictor: Predictor, name: str, server: OwnServer) -> ServedApp:
    """Return the routes over a model.

    Args:
        predictor: The model.
        name: What it is called.
        server: How it is served.
    """
    encoder = predictor.encoder
    style = predictor.style
    # A tokenizer cannot be used by two threads at once.
    own = Encoder(copy.deepcopy(encoder.tokenizer), encoder.inputs, style)

    def read(content: bytes) -> Asking:
        asked = read_chat_body(content, style, name)
        picture = decode_image(asked.picture, most_pixels=_MOST_PIXELS, formats=_FORMATS)
        width, height = picture.size
        record = Record(("picture",), width, height, objects=(), prompt=asked.prompt)
        limit = server.asking.max_new_tokens
        return Asking(
            question=Question(own.encode_prompt(record, picture), picture),
            limit=min(asked.max_tokens or limit, limit),
            top_logprobs=asked.top_logprobs,
        )

    def render(answered: Answered, request_id: str, created: int) -> bytes:
        return completion_json(
            answered.answer,
            request_id=request_id,
            created=created,
            model=name,
            prompt_tokens=len(answered.asking.question.prompt),
            top_logprobs=answered.asking.top_logprobs,
            alphabet=style.alphabet,
        )

    ask = build_limited_ask(predictor, server.asking, with_coord_log_p=True)
    desk = Desk(read, ask, batch_size=server.batch_size, most=server.queue)
    return ServedApp(desk, name, render, AppLimits(body_bytes=_BODY_BYTES, body_s=_BODY_S))


async def _serve(server: uvicorn.Server, bound: socket.socket, ready: Callable[[], None]) -> None:
    serving = asyncio.ensure_future(server.serve(sockets=[bound]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await serving
