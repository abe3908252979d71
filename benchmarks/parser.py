"""Measure the parser of answers: a million damaged answers, and time against length.

    python benchmarks/parser.py            a million answers, about two minutes of one core
    python benchmarks/parser.py --quick    20,000

Answers of boxes, polygons and lines, as training writes them, are cut, spliced and sprinkled with
pieces of JSON, tokens, control characters and any Unicode. The parser has to return objects with a
desc and with bins of the axis; anything else ends the script. CPU time of one process; the
result goes to `benchmarks/results/` with the machine's name.
"""

import argparse
import json
import platform
import random
import statistics
import time

from results import processor, results_path, write_results

from coordexp.answers.parse import ParsedAnswer, parse_prediction
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import RecordObject
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rendering.dense_json import JsonFormat, render_answer

DESCS = ("cat", 'the "big" one', "\N{LATIN SMALL LETTER E WITH ACUTE}t\\", "a, b: {c}", "]}")
PIECES = (
    *('"', "\\", "{", "}", "[", "]", ",", ":", "\n", "\x00", "\ud800", "-", "null", "1e999"),
    *("<|coord_", "|>", "<|coord_1000|>", "<|coord_7|>", "object_", '"object_1": {', '"desc": "'),
    *('"poly": [', "<|im_end|>", "\\u12"),
)


def main() -> None:
    """Run both measurements, print them, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    arguments = parser.parse_args()
    found = {
        "damaged": damaged(20_000 if arguments.quick else 1_000_000),
        "length": [long_answer(objects) for objects in (10, 100, 1_000, 10_000)],
    }
    print(json.dumps(found, indent=1))
    if not arguments.quick:
        out = results_path("parser")
        about = {"machine": processor(), "python": platform.python_version()}
        write_results(out, {**about, **found})
        print(out)


def damaged(count: int) -> dict[str, object]:
    """Parse damaged answers and check what comes out."""
    chance = random.Random(0)
    whole = [answer(chance, objects) for objects in range(5) for _ in range(40)]
    statuses = {"ok": 0, "salvaged": 0, "failed": 0}
    objects = dropped = 0
    seconds = 0.0
    for _ in range(count):
        text = damage(chance, chance.choice(whole))
        start = time.process_time()
        parsed = parse(text)
        seconds += time.process_time() - start
        check(parsed, text)
        statuses[parsed.status] += 1
        objects += len(parsed.objects)
        dropped += len(parsed.dropped)
    counts = {"answers": count, **statuses, "objects": objects, "dropped": dropped}
    return {**counts, "microseconds an answer": round(1e6 * seconds / count, 1)}


def long_answer(objects: int) -> dict[str, object]:
    """Return the time for an answer of so many objects that is cut off within the last one."""
    text = answer(random.Random(0), objects)[:-5]
    rounds = []
    for _ in range(3):
        start = time.process_time()
        parse(text)
        rounds.append(time.process_time() - start)
    seconds = statistics.median(rounds)
    return {
        "objects": objects,
        "characters": len(text),
        "nanoseconds a character": round(1e9 * seconds / len(text), 1),
    }


def parse(text: str) -> ParsedAnswer:
    """Parse as `coordexp predict` does."""
    return parse_prediction(
        text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
    )


def check(parsed: ParsedAnswer, text: str) -> None:
    """Check that objects have a desc and bins of the axis, and that the status agrees with them.

    Raises:
        AssertionError: If they do not; it holds the answer.
    """
    for item in parsed.objects:
        bins = item.geometry.values
        if not item.desc.strip() or not all(0 <= value < SPEC_ALPHABET.bins for value in bins):
            raise AssertionError(f"{item} of {text!r}")
    if parsed.status == "ok" and parsed.dropped:
        raise AssertionError(f"ok, and yet something was dropped from {text!r}")
    if parsed.status == "failed" and parsed.objects:
        raise AssertionError(f"{parsed.status} with {len(parsed.objects)} objects: {text!r}")


def answer(chance: random.Random, objects: int) -> str:
    """Return an answer as training writes it."""
    found = []
    for _ in range(objects):
        kind, count = chance.choice((("bbox_2d", 2), ("poly", 4), ("line", 3)))
        bins = [chance.randrange(SPEC_ALPHABET.bins) for _ in range(2 * count)]
        if kind == "bbox_2d":
            bins = [*map(min, bins[:2], bins[2:]), *map(max, bins[:2], bins[2:])]
        found.append(RecordObject(chance.choice(DESCS), Geometry(kind, tuple(bins), "bin")))
    style: JsonFormat = chance.choice(("standard", "compact"))
    return render_answer(
        found, 100, 100, alphabet=SPEC_ALPHABET, json_format=style, coord_tokens=True
    )


def damage(chance: random.Random, text: str) -> str:
    """Return an answer with one to three places replaced, and now and then its end cut off."""
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(text) + 1)
        stop = min(len(text), start + chance.randrange(12))
        piece = chance.choice(PIECES) if chance.randrange(5) else chr(chance.randrange(0x110000))
        text = text[:start] + piece * chance.randrange(3) + text[stop:]
    return text if chance.randrange(5) else text[: chance.randrange(len(text) + 1)]


if __name__ == "__main__":
    main()
