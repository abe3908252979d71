"""`coordexp predict` under torchrun, one of whose workers is killed while it runs.

A server in this process stands for the model, so that all else is the command as it is typed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from coordexp.data.files.jsonl import write_jsonl

COUNT = 150
# Without it the processes that are started again look for those that were killed (torch 2.13).
RESTARTS = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}


class Server(ThreadingHTTPServer):
    """Says the prompt of each question, and tells when a number of them has been answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.counted = threading.Condition()

    def handle_error(self, *_: object) -> None:
        """Whoever was killed does not wait for an answer."""

    def reply(self, body: dict[str, Any]) -> dict[str, object]:
        prompt = body["messages"][-1]["content"][1]["text"]
        with self.counted:
            self.asked[prompt] += 1
            self.counted.notify_all()
        logprobs = {"content": [{"token": prompt, "logprob": -0.1}]}
        choice = {"message": {"content": prompt}, "logprobs": logprobs, "finish_reason": "stop"}
        return {"choices": [choice]}

    def wait_for(self, count: int) -> None:
        with self.counted:
            assert self.counted.wait_for(lambda: self.asked.total() >= count, timeout=120)


class Handler(BaseHTTPRequestHandler):
    """Of one connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._send({"data": [{"id": "model"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.server.reply(json.loads(body)))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def kill(launcher: int, rank: int) -> None:
    workers = psutil.Process(launcher).children()
    (worker,) = (each for each in workers if each.environ().get("RANK") == str(rank))
    worker.send_signal(signal.SIGKILL)


@pytest.mark.long
def test_no_record_is_lost_or_twice_where_a_worker_is_killed(
    model_path: Path, tmp_path: Path
) -> None:
    prompts = [f"find {number}" for number in range(COUNT)]
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    row = {"images": ["a.png"], "width": 32, "height": 32, "objects": []}
    write_jsonl(tmp_path / "d.jsonl", ({**row, "prompt": prompt} for prompt in prompts))
    out = tmp_path / "p.jsonl"
    with served() as server:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        flags = ["--backend=http", f"--url=http://127.0.0.1:{server.server_port}", "--batch-size=2"]
        flags += [f"--model={model_path}", f"--data={tmp_path / 'd.jsonl'}", f"--out={out}"]
        command = [sys.executable, "-m", *launcher, "--max-restarts=1", "-m", "coordexp", "predict"]
        with subprocess.Popen(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **RESTARTS},
        ) as process:
            server.wait_for(60)
            kill(process.pid, rank=0)
            said, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert said == f"{out}: {COUNT} predictions\n"
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    assert [row["raw_text"] for row in rows] == prompts
    # Only what was under way was asked again: two of either rank.
    assert set(server.asked) == set(prompts)
    assert COUNT <= server.asked.total() <= COUNT + 4
    assert list(tmp_path.glob("p.jsonl?*")) == []


WAITS = """
import sys, time
from datetime import timedelta
import accelerate
from torch import distributed
import coordexp.inference.run.ranks as ranks
ranks.PartialState = lambda **given: accelerate.PartialState(**given, timeout=timedelta(seconds=2))
with ranks.launched_ranks() as own:
    time.sleep(6 * own.rank)
    own.wait()
    print("rank", own.rank, "of", own.count, "has waited")
"""


@pytest.mark.long
def test_ranks_wait_for_one_another_longer_than_their_group_does(tmp_path: Path) -> None:
    """NCCL's waits ten minutes, which is soon over where one GPU is slower than another."""
    (tmp_path / "waits.py").write_text(WAITS)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(tmp_path / "waits.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "rank 0 of 2 has waited",
        "rank 1 of 2 has waited",
    ]
