"""A hub on the loopback interface that serves one repository out of a folder.

It answers what `huggingface_hub` asks for a download, and keeps the paths that it was asked for.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

from typing_extensions import override

COMMIT = "c0ffee" * 6 + "c0de"


@dataclass
class LoopbackHub:
    """A running hub.

    Args:
        endpoint: Its address.
        asked: Every path that was asked for, in order.
    """

    endpoint: str
    asked: list[str] = field(default_factory=list)

    @property
    def files(self) -> set[str]:
        """The names of the files that were fetched."""
        return {path.split("/")[-1] for path in self.asked if "/resolve/" in path}


class _Handler(BaseHTTPRequestHandler):
    """Answers for the repository of its server."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        name, path = self.server.name, unquote(urlsplit(self.path).path)
        self.server.hub.asked.append(path)
        api, resolve = f"/api/models/{name}", f"/{name}/resolve/{COMMIT}/"
        if path in {api, *(f"{api}/revision/{known}" for known in (COMMIT, "main", "v1"))}:
            rows = [{"rfilename": file, "size": size} for file, size in self.server.sizes()]
            self._send({"id": name, "sha": COMMIT, "siblings": rows})
        elif path.startswith(f"{api}/tree/"):
            kind = {"type": "file", "oid": "0" * 40}
            self._send([{**kind, "path": p, "size": size} for p, size in self.server.sizes()])
        elif path.startswith(resolve):
            content = (self.server.folder / path.removeprefix(resolve)).read_bytes()
            self._send(content, with_body=with_body)
        else:
            known = path.startswith(f"{api}/")
            self._send({}, error="RevisionNotFound" if known else "RepoNotFound")

    def _send(self, content: object, *, error: str = "", with_body: bool = True) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(404 if error else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if with_body:
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.folder = name, folder
        self.hub = LoopbackHub(f"http://127.0.0.1:{self.server_port}")

    def sizes(self) -> list[tuple[str, int]]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in paths]


@contextmanager
def serve_repository(name: str, folder: Path) -> Iterator[LoopbackHub]:
    """Serve a folder as a model of that name until the block ends, with one commit."""
    server = _Server(name, folder)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
