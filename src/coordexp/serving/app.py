"""The routes of the own server: what reaches the queue, and what is turned away before it.

A request is counted before its body is read, so that bodies of those who would be turned away do
not fill the memory. Pictures come as `data:` URLs alone: nothing is fetched or opened for anyone.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from coordexp.errors import CoordExpError, InputError
from coordexp.serving.desk import Answered, Desk

logger = logging.getLogger(__name__)

_KINDS = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}
_GONE = 499  # nobody reads it: the connection is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class AppLimits:
    """What one request may take.

    Args:
        body_bytes: Larger bodies are refused.
        body_s: Slower ones too.
    """

    body_bytes: int
    body_s: float


class _TurnedAwayError(Exception):
    """A request that gets another reply than an answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class ServedApp:
    """The routes over a queue.

    Args:
        desk: Answers; it is closed with the app.
        name: What the model is called.
        render: Makes the body of a reply.
        limits: Of a request.
    """

    def __init__(
        self,
        desk: Desk,
        name: str,
        render: Callable[[Answered, str, int], bytes],
        limits: AppLimits,
    ) -> None:
        self._desk = desk
        self._name = name
        self._render = render
        self._limits = limits
        self._since = int(time.time())

    def starlette(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _not_here, Exception: _failed},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(self._desk.close)

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _models(self, _request: Request) -> Response:
        model = {
            "id": self._name,
            "object": "model",
            "created": self._since,
            "owned_by": "coordexp",
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def _complete(self, request: Request) -> Response:
        if self._desk.is_full:
            await _pass_over(request, self._limits)
            return _error(429, "the queue is full; come again", {"Retry-After": "1"})
        self._desk.enter()
        try:
            return await self._answer(request)
        except (_TurnedAwayError, CoordExpError) as error:
            return _error(_status(error), str(error))
        except ClientDisconnect:
            return Response(status_code=_GONE)
        finally:
            self._desk.leave()

    async def _answer(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also what a page in a browser may not send unasked
            await _pass_over(request, self._limits)
            raise _TurnedAwayError(415, "expected Content-Type: application/json")
        content = await _read_body(request, self._limits)
        future = self._desk.submit(content)
        answered = await _unless_gone(request, future)
        if answered is None:
            return Response(status_code=_GONE)
        body = await asyncio.to_thread(
            self._render, answered, f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        )
        return Response(body, media_type="application/json")


async def _read_body(request: Request, limits: AppLimits) -> bytes:
    """Return the body.

    Raises:
        _TurnedAwayError: If it is too large or comes too slowly.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body_bytes:
                    chunks.append(chunk)
                else:
                    # What still comes is read, if it ends soon: who is still sending when the
                    # connection is closed does not see the reply.
                    chunks.clear()
                    if size > 4 * limits.body_bytes:
                        break
    except TimeoutError:
        raise _TurnedAwayError(
            408, f"the request did not come within {limits.body_s:g} s"
        ) from None
    if size > limits.body_bytes:
        raise _TurnedAwayError(
            413,
            f"the request is too large: at most {limits.body_bytes:,} bytes; send the picture as "
            "JPEG, or smaller",
        )
    return b"".join(chunks)


async def _pass_over(request: Request, limits: AppLimits) -> None:
    """Read the body of a request that is turned away, and keep nothing of it."""
    size = 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.body_bytes:
                    break
    except (TimeoutError, ClientDisconnect):
        return


async def _unless_gone(request: Request, future: "Future[Answered]") -> Answered | None:
    """Return the answer, None once who asked has closed the connection."""
    answer = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(_closed(request))
    try:
        both: set[asyncio.Future[Any]] = {answer, gone}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        gone.cancel()
        answer.cancel()  # in time, the model is not asked


async def _closed(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "internal_error")  # noqa: PLR2004
    error = {"message": message, "type": kind, "param": None, "code": status}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def _status(error: _TurnedAwayError | CoordExpError) -> int:
    if isinstance(error, _TurnedAwayError):
        return error.status
    return 400 if isinstance(error, InputError) else 500


async def _not_here(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _error(status, f"{request.method} {request.url.path}: not offered here")


async def _failed(_request: Request, error: Exception) -> Response:
    logger.error("%s", type(error).__name__)
    return _error(500, "a bug of the server; its log says more")
