"""Measure the memory of a merge: streamed, against the whole model in memory.

    python benchmarks/export.py            a synthetic 3 GB base in 1 GB shards; some minutes
    python benchmarks/export.py --quick    the same, small: does it run?

The base is a tied Qwen3-VL in bfloat16 with random weights; its adapter has LoRA or DoRA on every
linear layer, and two coord-offset tables. Contenders run one after the other, each in a process of
its own. What counts is the anonymous resident memory (`RssAnon`, which leaves out the files that
are only mapped), sampled every millisecond, above its level before the merge. `streamed` is what
`coordexp merge` does before it certifies, and `read back` the certificate's first part, on what
that has written; `whole` loads the model in the base's dtype, lets PEFT merge it and saves it.
Disk: three times the base, in `--scratch`, deleted afterwards.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import get_peft_model_state_dict
from results import processor, results_path, write_results
from torch import Tensor
from transformers import AutoModelForImageTextToText, Qwen3VLConfig

from coordexp.export.bake import plan_bake
from coordexp.export.base_layout import load_base_layout
from coordexp.export.expected import load_expected
from coordexp.export.in_memory import merge_in_memory
from coordexp.export.read_back import read_back
from coordexp.export.saved_adapter import load_saved_adapter
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.adapters import install_lora
from coordexp.model.card import WeightsCard, load_weights_card, write_card
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.fingerprint import rows_fingerprint, stored_rows, tokenizer_fingerprint
from coordexp.model.load import load_checkpoint, load_tokenizer
from coordexp.model.shard_writing import NewTensor, split_by_size, write_weights
from coordexp.model.shards import load_weights
from coordexp.tiny.model import build_config, build_tokenizer

COORD_IDS = (151_670, 152_669)
RANK = 16
PATTERN = 1 << 20


def main() -> None:
    """Write base and adapters, run the contenders, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--scratch", type=Path, help="where there is room; default: a temporary folder"
    )
    parser.add_argument(
        "--run", nargs=3, metavar=("CONTENDER", "ADAPTER", "OUT"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.run:
        contender, adapter, out = arguments.run
        print(json.dumps(measure(contender, Path(adapter), Path(out))))
        return
    scratch = Path(tempfile.mkdtemp(dir=arguments.scratch))
    try:
        rows = compare(scratch, quick=arguments.quick)
    finally:
        shutil.rmtree(scratch)
    content = {"machine": machine_name(), "quick": arguments.quick, "rows": rows}
    print(json.dumps(content, indent=1))
    if not arguments.quick:
        write_results(results_path("export"), content)


def compare(scratch: Path, *, quick: bool) -> list[dict[str, object]]:
    """Return one row for each contender and kind of adapter."""
    base = scratch / "base"
    write_base(base, quick=quick)
    rows = []
    for use_dora in (False, True):
        adapter = scratch / f"adapter-{use_dora}"
        write_adapter(base, adapter, use_dora=use_dora)
        for contender in ("streamed", "read back", "whole"):
            out = scratch / "merged"
            if contender != "read back":
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
            command = [sys.executable, __file__, "--run", contender, str(adapter), str(out)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.append({"contender": contender, "adapter": "DoRA" if use_dora else "LoRA"} | row)
            print(rows[-1], file=sys.stderr)
    return rows


def measure(contender: str, adapter: Path, out: Path) -> dict[str, object]:
    """Return memory and CPU time of one merge."""
    card = load_weights_card(adapter)
    base = Path(card.base)
    sizes = [tensor.num_bytes for tensor in load_weights(base).by_name.values()]
    saved = load_saved_adapter(adapter)
    lora = max(sum(leaf.num_bytes for leaf in leaves.values()) for leaves in saved.layers.values())
    began = time.process_time()
    with peak_memory() as peak:
        if contender == "streamed":
            layout = load_base_layout(base)
            plan = plan_bake(layout, saved, card)
            write_weights(out, plan.shards, metadata=layout.weights.metadata)
        elif contender == "read back":
            check_written(base, adapter, out, card)
        else:
            merge_in_memory(load_checkpoint(base, adapter)).save_pretrained(out)
    limit = 2 * max(sizes) + lora
    return {
        "peak MB": round(peak["RssAnon"] / 1e6, 1),
        "limit MB": round(limit / 1e6, 1),
        "peak MB, mapped files included": round(peak["VmRSS"] / 1e6, 1),
        "largest tensor MB": round(max(sizes) / 1e6, 1),
        "largest LoRA MB": round(lora / 1e6, 3),
        "peak / largest tensor": round(peak["RssAnon"] / max(sizes), 2),
        "base MB": round(sum(sizes) / 1e6),
        "CPU seconds": round(time.process_time() - began, 1),
    }


def check_written(base: Path, adapter: Path, merged: Path, card: WeightsCard) -> None:
    """Read the merged weights back, which must be right."""
    expected = load_expected(load_base_layout(base), adapter)
    _, problems = read_back(base, merged, expected, coord_ids=card.coord_ids, name_row=str)
    if problems:
        raise RuntimeError(problems[0])


@contextmanager
def peak_memory():  # noqa: ANN201
    """Give a dict that holds, after the block, the most that was in use above the start."""
    start = resident_bytes()
    peak = dict.fromkeys(start, 0)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.001):
            for kind, now in resident_bytes().items():
                peak[kind] = max(peak[kind], now - start[kind])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def resident_bytes() -> dict[str, int]:
    """Return the memory of this process: that which no file backs, and all."""
    status = Path("/proc/self/status").read_text()
    found = re.findall(r"(RssAnon|VmRSS):\s+(\d+) kB", status)
    return {kind: int(kilobytes) * 1024 for kind, kilobytes in found}


def write_base(base: Path, *, quick: bool) -> None:
    """Write a base with random weights, its tensors made one after the other."""
    base.mkdir()
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(base)
    config = synthetic_config(tokenizer, quick=quick)
    config.save_pretrained(base)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    pattern = (0.02 * torch.randn(PATTERN, generator=torch.Generator().manual_seed(0))).bfloat16()

    def filled(shape: tuple[int, ...]) -> Tensor:
        flat = torch.empty(torch.Size(shape).numel(), dtype=torch.bfloat16)
        for start in range(0, len(flat), PATTERN):
            part = flat[start : start + PATTERN]
            part.copy_(pattern[: len(part)])
        return flat.view(shape)

    tensors = [
        NewTensor(
            name, torch.bfloat16, tuple(weight.shape), lambda shape=weight.shape: filled(shape)
        )
        for name, weight in model.named_parameters()
    ]
    shards = split_by_size(tensors, max_bytes=1_000_000_000)
    write_weights(base, shards, metadata={"format": "pt"})


def synthetic_config(tokenizer: object, *, quick: bool) -> Qwen3VLConfig:
    """Return a Qwen3-VL with the real vocabulary: 3 GB in bfloat16, or a small one."""
    config = build_config(tokenizer)
    text = config.text_config
    text.vocab_size = 152_704
    text.hidden_size, text.intermediate_size = (256, 512) if quick else (2048, 6144)
    text.num_hidden_layers = 2 if quick else 24
    text.num_attention_heads, text.num_key_value_heads = (4, 2) if quick else (16, 8)
    text.head_dim = 48 if quick else 128
    half = text.head_dim // 2
    text.rope_parameters["mrope_section"] = [half - 2 * (half // 3), half // 3, half // 3]
    config.vision_config.out_hidden_size = text.hidden_size
    config.dtype = torch.bfloat16
    return config


def write_adapter(base: Path, adapter: Path, *, use_dora: bool) -> None:
    """Write an adapter of the shapes that the base asks for, with random weights."""
    config = Qwen3VLConfig.from_pretrained(base)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        install_coord_offset_adapter(
            model, coord_ids=range(COORD_IDS[0], COORD_IDS[1] + 1), tie_head=False
        )
        adapted = install_lora(
            model,
            family=QWEN3_VL,
            towers=["vision", "aligner", "language"],
            leaves=None,
            experts=False,
            rank=RANK,
            alpha=32,
            dropout=0.0,
            use_dora=use_dora,
        )
    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    adapter.mkdir()
    tensors = [
        NewTensor(
            name, torch.float32, tuple(weight.shape), lambda w=weight: 0.01 * torch.randn(w.shape)
        )
        for name, weight in state.items()
    ]
    write_weights(adapter, [tensors], metadata={"format": "pt"})
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    adapted.peft_config["default"].save_pretrained(adapter)
    card = WeightsCard(
        base=str(base),
        tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
        coord_ids=COORD_IDS,
        coord_rows=rows_fingerprint(stored_rows(base, COORD_IDS, QWEN3_VL.vocabulary)),
        tie_head=False,
    )
    write_card(adapter, style={}, weights=card)


def machine_name() -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "machine": processor(),
        "cores": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
