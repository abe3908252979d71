"""A folder that says how a model is asked, and a server that plays back what it was given."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.model.card import WeightsCard, write_card
from coordexp.rendering.style import RenderingStyle, style_to_json

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class PlayedBack:
    """What a server says, one reply after another and then the last for good; what it was asked."""

    url: str = ""
    owner: str = "somebody"
    replies: list[Reply] = field(default_factory=list)
    asked: list[dict[str, object]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, body: dict[str, object]) -> Reply:
        with self.lock:
            self.asked.append(body)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def says(self, *replies: Reply | dict[str, object]) -> None:
        self.replies = [
            each if isinstance(each, tuple) else (200, {}, json.dumps(each).encode())
            for each in replies
        ]


@pytest.fixture
def server() -> Iterator[PlayedBack]:
    played = PlayedBack()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = {"data": [{"id": "digits", "owned_by": played.owner}]}
            self.answer((200, {}, json.dumps(models).encode()))

        def do_POST(self) -> None:
            played.keys.append(self.headers["Authorization"])
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(played.next(json.loads(content)))

        def answer(self, reply: Reply) -> None:
            status, headers, content = reply
            if status == 0:  # hangs up
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        played.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield played
        http.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def make_asked(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the three small files of a model that was trained in some style."""

    def make(*, coord_ids: tuple[int, int] | None = (389, 1388), **changes: object) -> Path:
        folder = tmp_path_factory.mktemp("asked")
        for name in ("config.json", "preprocessor_config.json"):
            shutil.copy(tiny_base / name, folder)
        style: dict[str, object] = {
            "system_prompt": None,
            "user_prompt": "Find every digit.",
            "json_format": "standard",
            "object_ordering": "sorted",
            "coord_tokens": True,
            "alphabet": SPEC_ALPHABET,
            "min_pixels": None,
            "max_pixels": None,
            **changes,
        }
        weights = WeightsCard(
            base=None, tokenizer="", coord_ids=coord_ids, coord_rows=None, tie_head=None
        )
        write_card(
            folder,
            style=style_to_json(RenderingStyle(**style)),  # type: ignore[arg-type] # by name
            weights=weights,
            classes=["six", "zero"],
        )
        return folder

    return make


@pytest.fixture(scope="session")
def asked(make_asked: Callable[..., Path]) -> Path:
    return make_asked()
