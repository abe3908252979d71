"""Boxes a second on a GPU: constrained decoding beside plain `generate`, on a model of 2B.

    python benchmarks/inference_gpu.py            Qwen3-VL-2B, random weights, the real vocabulary
    python benchmarks/inference_gpu.py --quick    0.03 B, on a CPU where there is no GPU

A random model asked inside the grammar, restricted to seven classes, writes random objects; asked
freely it would never write JSON, so `generate` writes as many tokens in every row as the longest of
the constrained answers has: what it would take for the very same answers. Wall-clock, the GPU
waited for; medians over the repeats, ratios in pairs. Results go to
`results/inference-gpu-<machine>.json`, one batch size at a time.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from inference import (
    CLASSES,
    build_encoder,
    count_objects,
    noise_prompts,
    real_tokenizer,
    written_freely,
)
from results import processor, results_path, write_results
from transformers import PreTrainedModel, Qwen3VLForConditionalGeneration

from coordexp.answers.answer import Answer
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.inference.decode.constrained import ConstrainedDecoder
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.rendering.encode import Encoder

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.model.published import EXPANDED_ROWS, PUBLISHED

MOST_TOKENS = 160
REPEATS = 3


def main() -> None:
    """Measure each batch size, print and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    quick = parser.parse_args().quick
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = torch.cuda.get_device_name() if device == "cuda" else processor()
    encoder = build_encoder(real_tokenizer(), "standard")
    model = random_model(device, small=quick)
    about = {"machine": machine, "processor": processor(), "torch": torch.__version__}
    result: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    for batch in (1, 2) if quick else (1, 8, 32):
        figures = measured(model, encoder, batch, tokens=40 if quick else MOST_TOKENS)
        result[f"batch {batch}"] = figures
        print(batch, json.dumps(figures, indent=1), flush=True)
        if not quick:
            write_results(results_path("inference-gpu", machine), {**about, **result})


def random_model(device: str, *, small: bool) -> PreTrainedModel:
    """Return a Qwen3-VL-2B with coord rows in bfloat16, or one layer of it in float32."""
    published = PUBLISHED["Qwen3-VL-2B"]
    config = published.config(EXPANDED_ROWS)
    if small:
        config.text_config.num_hidden_layers = config.vision_config.depth = 1
        config.text_config.hidden_size = config.vision_config.out_hidden_size = 64
        config.vision_config.deepstack_visual_indexes = [0]
    torch.manual_seed(0)
    with torch.device(device):
        model: PreTrainedModel = Qwen3VLForConditionalGeneration(config).eval()
    return model if small else model.bfloat16()


def measured(
    model: PreTrainedModel, encoder: Encoder, batch: int, *, tokens: int
) -> dict[str, object]:
    """Return passes and boxes a second of both, for so many rows."""
    vocab = CoordVocab.from_tokenizer(encoder.tokenizer, SPEC_ALPHABET)
    prompts = noise_prompts(encoder, count=batch, side=256)
    decoder = ConstrainedDecoder(model, encoder, vocab, never_empty(encoder))
    said: list[Answer] = []

    def inside_grammar() -> None:
        said[:] = decoder.answers(prompts, max_new_tokens=tokens)

    inside_grammar()  # kernels are there before anything counts
    longest = max(len(answer.pieces) for answer in said) + 1
    freely = written_freely(model, encoder, prompts, tokens=longest)
    freely()
    times = [(wall_clock(inside_grammar), wall_clock(freely)) for _ in range(REPEATS)]
    objects = count_objects(said)
    constrained, plain = (statistics.median(each) for each in zip(*times, strict=True))
    most = max(answer.passes for answer in said)
    return {
        "objects": objects,
        "tokens of the longest": longest,
        "constrained": {
            "boxes a second": objects / constrained,
            "passes of the longest": most,
            "ms a pass": 1000 * constrained / most,
        },
        "generate": {
            "boxes a second": objects / plain,
            "passes of the longest": longest,
            "ms a pass": 1000 * plain / longest,
        },
        "speed": statistics.median(other / ours for ours, other in times),
    }


def never_empty(encoder: Encoder) -> AnswerGrammar:
    """Return the grammar without the empty answer, which chance might choose."""
    grammar = AnswerGrammar(encoder, restrict_to=CLASSES)
    start = grammar.start
    if start.stop is not None:
        del start.children[start.stop]
        start.stop = None
    return grammar


def wall_clock(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes, once the GPU is done."""
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
