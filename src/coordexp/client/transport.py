"""A request there and its reply back, with patience that has an end.

On urllib3: every installation has it through supervision and requests, its pool of connections may
be used by many threads at once, and it has been kept well for longer than any other. The standard
library keeps no connections; httpx and its successor would be one more thing to install.
"""

import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from coordexp.errors import CoordExpError, InputError

_OK, _BUSY = 200, (429, 503)
_BAD = range(400, 500)
_LONGEST_WAIT = 30.0
_SHOWN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server is waited for.

    Args:
        connect_s: Until it accepts a connection.
        answer_s: Until its answer is there.
        retries: How often it is asked again where it is busy (429, 503) or has dropped the
            connection. The same question has the same answer, so asking twice does no harm.
        first_wait_s: Before the second time; it doubles from then on, and is longer where the
            server says so. No wait is longer than half a minute.
    """

    connect_s: float = 10.0
    answer_s: float = 600.0
    retries: int = 8
    first_wait_s: float = 0.5

    def wait_s(self, tries: int, asked: str | None) -> float:
        """Return how long to wait after a number of tries.

        Args:
            tries: At least one.
            asked: The server's Retry-After.
        """
        # Spread, so that those who were turned away together do not come back together.
        wait = math.ldexp(self.first_wait_s, tries - 1) * random.uniform(0.5, 1.0)
        if asked is not None and asked.strip().isdecimal():
            wait = max(wait, float(asked))
        return min(wait, _LONGEST_WAIT)


class Transport:
    """Talks to one server, from as many threads as there are connections.

    Args:
        url: The server's, with `/v1` or without.
        patience: How long it is waited for.
        connections: How many are kept open.
        api_key: Sent as a bearer token where there is one.

    Raises:
        InputError: If the URL is none of http or https.
    """

    def __init__(
        self, url: str, *, patience: Patience, connections: int, api_key: str | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"expected a URL such as http://127.0.0.1:8000, got {url!r}")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._patience = patience
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=patience.connect_s, read=patience.answer_s),
        )

    def ask(self, path: str, body: Mapping[str, object] | None = None) -> bytes:
        """Return the body of the reply; without a body to send it is a GET.

        Raises:
            InputError: If the server refuses the question.
            CoordExpError: If it cannot be reached, stays busy or fails.
        """
        content = None if body is None else json.dumps(body).encode()
        tries = 0
        while True:
            tries += 1
            reply = self._once(path, content, last=tries > self._patience.retries)
            if reply is not None and reply.status not in _BUSY:
                return _content(reply, self.url)
            if tries > self._patience.retries:
                status = "" if reply is None else f" ({_said(reply)})"
                raise CoordExpError(
                    f"{self.url}: the server is busy, still so after {tries} tries{status}; send "
                    "fewer requests at once, or wait"
                )
            asked = None if reply is None else reply.headers.get("Retry-After")
            time.sleep(self._patience.wait_s(tries, asked))

    def _once(
        self, path: str, content: bytes | None, *, last: bool
    ) -> urllib3.BaseHTTPResponse | None:
        """Return the reply, None where the connection was dropped and may be tried again."""
        method = "GET" if content is None else "POST"
        try:
            return self._pool.request(
                method, self.url + path, body=content, headers=self._headers, redirect=False
            )
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise CoordExpError(
                f"{self.url}: no server answers there ({_reason(error)}); start one with: coordexp "
                "serve MODEL"
            ) from None
        except ReadTimeoutError:
            raise CoordExpError(
                f"{self.url}: no answer within {self._patience.answer_s:g} s"
            ) from None
        except HTTPError as error:
            if last:
                raise CoordExpError(f"{self.url}: the connection broke: {error}") from None
            return None


def _reason(error: HTTPError) -> str:
    return str(error).rpartition(": ")[2] or type(error).__name__


def _content(reply: urllib3.BaseHTTPResponse, url: str) -> bytes:
    if reply.status == _OK:
        return reply.data
    message = f"{url}: {_said(reply)}"
    if reply.status in _BAD:
        raise InputError(message)
    raise CoordExpError(message)


def _said(reply: urllib3.BaseHTTPResponse) -> str:
    """Return a status with the server's own words."""
    words = reply.data[: 8 * _SHOWN].decode("utf-8", errors="replace")
    try:
        said = json.loads(reply.data)
        # OpenAI's form, and that of servers which leave out its frame
        said = said.get("error", said)
        words = said if isinstance(said, str) else str(said["message"])
    except (ValueError, AttributeError, LookupError, TypeError):
        pass  # a proxy's page, or nothing
    return f"{reply.status} {words.strip()[:_SHOWN]}".strip()
