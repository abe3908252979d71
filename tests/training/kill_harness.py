"""Runs trainings that are killed, for test_resume.py: python kill_harness.py BASE ...

Importing torch and transformers takes seconds, so one process does it and forks for every attempt.
It reads one request a line on standard input and answers with one line on standard output:

    {"config": PATH, "ranks": 2, "kill": {"event": "save optimizer.pt", "count": 1, "rank": 0}}
    -> {"codes": [-9, -9], "events": ["step", ...], "seconds": 0.8}

`kill` is null, {"seconds": S}, or a place: the `count`-th time (from 1) that a rank reaches an
event, `any` for all of them together. Saving kills half way through the file, deleting half way
through the directory. `events` are those of rank 0, and only when nothing was killed. Where a
request has `disk`, no file can be written beyond so many bytes.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tqdm
from transformers import Trainer

from coordexp.config.load import load_config
from coordexp.errors import CoordExpError
from coordexp.model import load
from coordexp.training.run import build
from coordexp.training.run.stage1 import train

EVENTS: list[str] = []


def warm_up(*bases: Path) -> None:
    """Do once what every attempt would do alike, and start no thread that a fork would lose."""
    torch.set_num_threads(1)
    tqdm.tqdm.monitor_interval = 0
    importlib.import_module("torch.utils.tensorboard")
    importlib.import_module("torch._dynamo")
    opened = {
        base: build.load_base(base, dtype="float32", attn_implementation="sdpa") for base in bases
    }
    build.load_base = lambda path, **__: opened[Path(path)]
    tokenizers = {base: load.load_tokenizer(base) for base in bases}
    build.load_tokenizer = load.load_tokenizer = lambda path: tokenizers[Path(path)]
    gc.collect()
    gc.freeze()  # accelerate collects when a run starts: half a second over all modules


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_saving(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    die()


def die_while_deleting(directory: Path) -> None:
    next(path for path in sorted(directory.rglob("*")) if path.is_file()).unlink()
    die()


# Which argument of a function names the file that it is about.
FILES = {"save": 1, "rename": 1, "delete": 0}


def watch(owner: object, name: str, event: str, reached: Callable[[str], bool]) -> None:
    """Let a function report before it works; where it is to be killed, do it there."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def watched(*args: object, **kwargs: object) -> object:
        file = Path(str(args[FILES[event]])) if event in FILES else Path()
        fatal = reached(f"{event} {file.name}".rstrip())
        if fatal and event == "save":
            real(*args, **kwargs)
            die_while_saving(file)
        elif fatal and event == "delete":
            die_while_deleting(file)
        elif fatal:
            die()
        return real(*args, **kwargs)

    setattr(owner, name, watched)


def watch_all(kill: dict[str, Any] | None, rank: int) -> None:
    place = kill if kill and "event" in kill and kill.get("rank", 0) == rank else None

    def reached(event: str) -> bool:
        EVENTS.append(event)
        if place is None:
            return False
        seen = len(EVENTS) if place["event"] == "any" else EVENTS.count(place["event"])
        return place["event"] in {event, "any"} and seen == place["count"]

    watch(Trainer, "training_step", "step", reached)
    watch(Trainer, "prediction_step", "evaluate", reached)
    watch(Trainer, "log", "log", reached)
    watch(torch, "save", "save", reached)
    watch(os, "fsync", "flush", reached)
    watch(Path, "replace", "rename", reached)
    watch(shutil, "rmtree", "delete", reached)
    for module in ("peft.peft_model", "transformers.modeling_utils"):
        imported = importlib.import_module(module)
        if hasattr(imported, "safe_save_file"):
            watch(imported, "safe_save_file", "save", reached)


def attempt(request: dict[str, Any], rank: int, port: int, notes: Path) -> None:
    """Be one rank; never returns."""
    code = 70
    os.setsid()
    try:
        with Path(request["config"]).with_suffix(f".{rank}.err").open("a") as errors:
            os.dup2(errors.fileno(), 1)
            os.dup2(errors.fileno(), 2)
        if request["ranks"] > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
            os.environ |= {"WORLD_SIZE": str(request["ranks"]), "MASTER_ADDR": "127.0.0.1"}
        if "disk" in request:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["disk"], request["disk"]))
        watch_all(request["kill"], rank)
        train(load_config(Path(request["config"])), say=sys.stderr.write)
        code = 0
        if rank == 0:
            notes.write_text(json.dumps(EVENTS))
    except CoordExpError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    finally:
        sys.stderr.flush()
        if code == 70:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def serve(request: dict[str, Any]) -> dict[str, Any]:
    kill = request["kill"] or {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notes = Path(request["config"]).with_suffix(".events")
    notes.unlink(missing_ok=True)
    began = time.monotonic()
    ranks: list[int] = []
    for rank in range(request["ranks"]):
        pid = os.fork()
        if pid == 0:
            attempt(request, rank, port, notes)
        ranks.append(pid)
    codes: dict[int, int] = {}
    while len(codes) < len(ranks):
        waiting = [pid for pid in ranks if pid not in codes]
        done = {pid: status for pid, status in (os.waitpid(p, os.WNOHANG) for p in waiting) if pid}
        codes |= {pid: os.waitstatus_to_exitcode(status) for pid, status in done.items()}
        over = time.monotonic() - began > kill.get("seconds", 120.0)
        if over or any(codes.values()):  # as a launcher does when a rank has failed
            for pid in (pid for pid in ranks if pid not in codes):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    for pid in ranks:
        # A loader's worker that is born while its run dies never learns of it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    events = json.loads(notes.read_text()) if notes.exists() else []
    seconds = time.monotonic() - began
    return {"codes": [codes[pid] for pid in ranks], "events": events, "seconds": seconds}


if __name__ == "__main__":
    warm_up(*map(Path, sys.argv[1:]))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(serve(json.loads(line))) + "\n")
        sys.stdout.flush()
    os._exit(0)
