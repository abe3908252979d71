"""What a server costs beside `predict`: seconds of all processes and of the clock, for a picture.

    python benchmarks/serving.py runs/quickstart
    python benchmarks/serving.py runs/quickstart --url http://127.0.0.1:8000 --pid 1234

Without a URL it starts the own server (`coordexp serve --backend hf`) on loopback. With one, that
server is asked; `--pid` is its process, whose CPU seconds are counted with those of its children.
The same scenes are predicted by the model itself, in this process, and through the server with
several requests under way. Starting and loading are not counted. Ratios are what holds.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import torch
from quickstart_folder import HELDOUT, MODEL
from results import processor, read_results, results_path, write_results

from coordexp.answers.prediction_lines import RowOptions
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predict import predict_file
from coordexp.inference.run.predictor import load_predictor

REPEATS = 3
SIDE_BY_SIDE = (1, 8, 16)
ASKING = AskOptions(constrain=True, restrict_to=None, max_new_tokens=2048)
OPTIONS = PredictOptions(batch_size=8, asking=ASKING, rows=RowOptions())


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of processes and their children so far, each counted once."""
    found = {each for one in processes for each in (one, *one.children(recursive=True))}
    times = [each.cpu_times() for each in found]
    return sum(each.user + each.system for each in times)


@contextmanager
def own_server(model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Give a server's URL and process."""
    command = [sys.executable, "-m", "coordexp", "serve", str(model), "--backend", "hf"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+?:\d+", process.stdout.readline())
        assert found is not None
        yield found.group(), psutil.Process(process.pid)
        process.terminate()


def measured(work: Callable[[Path], object], others: list[psutil.Process]) -> dict[str, float]:
    """Return the median seconds of CPU, of all processes, and of the clock."""
    processes = [psutil.Process(), *others]
    cpu, clock = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            began = cpu_seconds(processes), time.monotonic()
            work(Path(folder) / "p.jsonl")
            cpu.append(cpu_seconds(processes) - began[0])
            clock.append(time.monotonic() - began[1])
    return {"cpu_s": statistics.median(cpu), "clock_s": statistics.median(clock)}


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("quickstart", type=Path, help="Folder of a quickstart.")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--url", help="Of a server that runs already.")
    parser.add_argument("--pid", type=int, help="Of that server.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = arguments.quickstart / MODEL
    data = arguments.quickstart / HELDOUT
    few = data.with_name("few.jsonl")
    few.write_text("".join(data.read_text("utf-8").splitlines(keepends=True)[: arguments.scenes]))
    try:
        compare(model, few, arguments)
    finally:
        few.unlink()


def compare(model: Path, data: Path, arguments: argparse.Namespace) -> None:
    """Measure both ways."""
    predictor = load_predictor(model)
    alone = replace(OPTIONS, batch_size=1)
    figures = {
        "predict": measured(lambda out: predict_file(predictor, data, out, OPTIONS), []),
        "predict, one by one": measured(lambda out: predict_file(predictor, data, out, alone), []),
    }
    if arguments.url:
        others = [psutil.Process(arguments.pid)] if arguments.pid else []
        ask_server(arguments.url, others, model, data, figures)
    else:
        with own_server(model) as (url, process):
            ask_server(url, [process], model, data, figures)
    own = figures["predict"]
    for name, seconds in figures.items():
        seconds["cpu_ratio"] = seconds["cpu_s"] / own["cpu_s"]
        seconds["clock_ratio"] = seconds["clock_s"] / own["clock_s"]
        print(f"{name:24}", {key: round(value, 3) for key, value in seconds.items()})
    path = results_path("serving")
    machine = {"machine": processor(), "threads": 1, "torch": torch.__version__}
    kind = "another server" if arguments.url else "the own server"
    content = {**read_results(path), "machine": machine}
    content[kind] = {"scenes": arguments.scenes, "seconds": figures}
    write_results(path, content)


def ask_server(
    url: str,
    others: list[psutil.Process],
    model: Path,
    data: Path,
    figures: dict[str, dict[str, float]],
) -> None:
    """Measure a server with more and more requests under way."""
    served = replace(OPTIONS, backend="http", url=url)
    for count in SIDE_BY_SIDE:
        options = replace(served, batch_size=count)
        figures[f"server, {count} under way"] = measured(
            lambda out, options=options: run_predict(model, data, out, options), others
        )


if __name__ == "__main__":
    main()
