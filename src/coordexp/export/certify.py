"""Does the merged model say what the adapter said? Measured, on the files as they were written.

One model is in memory at a time: first base and adapter, whose answers are kept; then, in a process
that cannot import CoordExp, the merged model.

What it must say depends on how it is stored. Float32 weights must give the adapter's logits, and
its greedy answers token for token. Narrow weights are rounded, which moves every logit; so they
must give the logits of the adapter merged in memory, by another road, and rounded alike, and what
rounding moves is measured against what it moves without coord offsets.

Four records show few of the thousand coord rows. So before any model is loaded the files are read
back, every number of every tensor (`read_back`, `small_files`); the logits then show that these
numbers, in this place, are the model.

An adapter that was trained on a quantised base is merged into the base as it is stored, and that is
what is certified. How far it moves the logits that the adapter learned on other weights is measured
beside it and limits nothing: it is a property of the training, and figures on held-out records say
whether it matters.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.export import plain_reload
from coordexp.export.answer_agreement import (
    agreement_of,
    all_answers,
    disagreements,
    dtype_name,
    generation_of,
    rounding_of,
)
from coordexp.export.base_layout import BaseLayout
from coordexp.export.certificate import (
    Certificate,
    CheckedOn,
    Origin,
    QuantisedTraining,
)
from coordexp.export.expected import Expected, load_expected
from coordexp.export.in_memory import adapter_answers, quantised_logits
from coordexp.export.logit_distance import logit_distance
from coordexp.export.plain_reload import FIRST_ID, PlainFacts
from coordexp.export.probe import Probe
from coordexp.export.read_back import WeightsComparison, read_back
from coordexp.export.small_files import compare_small_files
from coordexp.model.card import load_weights_card
from coordexp.model.four_bit import four_bit_fault
from coordexp.model.load import load_tokenizer

_WORK = ".certify"
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that has been written and is to be certified.

    Args:
        base: The base's directory.
        checkpoint: The adapter's.
        merged: Where the merged model lies.
        layout: What the base holds.
        coord_ids: First and last.
    """

    base: Path
    checkpoint: Path
    merged: Path
    layout: BaseLayout
    coord_ids: tuple[int, int] | None


def certify_merge(merge: Merge, probe: Probe, origin: Origin) -> Certificate:
    """Return the certificate of a merge.

    Raises:
        CoordExpError: If anything is not as it must be, with every such thing.
    """
    promised = load_expected(merge.layout, merge.checkpoint)
    comparison, files_equal = read_files_back(merge, promised)
    narrow = _narrow_dtype(merge.layout, promised)
    questions = dict(probe.questions)
    if narrow is not None and promised.tables:
        questions |= _base_rows(merge)
    expected = adapter_answers(
        merge.base,
        merge.checkpoint,
        questions,
        rounded_to=None if narrow is None else _stored_dtypes(merge.layout),
    )
    answers, facts = answer_in_isolation(merge.merged, questions)
    logits = agreement_of(answers, expected, merge.coord_ids, narrow)
    certificate = Certificate(
        origin=origin,
        dtype=dtype_name(merge.layout.embedding_table.dtype),
        tied=facts.tied,
        weights=comparison,
        files_equal=files_equal,
        checked_on=CheckedOn(
            kind=probe.kind,
            source=probe.source,
            lines=probe.lines,
            positions=len(all_answers("logits", expected)),
        ),
        logits=logits,
        rounding=None
        if narrow is None
        else rounding_of(
            answers, expected, merge.coord_ids, narrow, is_mixture=bool(merge.layout.stacks)
        ),
        quantization=quantised_training(merge, questions, expected),
        generation=generation_of(answers, expected, required=narrow is None),
        reloaded_as=facts.model_class,
    )
    _refuse([*disagreements(certificate), *_structural_problems(facts, tied=promised.tied)])
    return certificate


def quantised_training(
    merge: Merge, questions: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> QuantisedTraining | None:
    """Return how far the adapter as it was trained is from the adapter that is merged.

    Args:
        merge: The merge.
        questions: The probe.
        expected: The adapter's answers on the base as it is stored.
    """
    method = load_weights_card(merge.checkpoint).quantization
    if method is None:
        return None
    if four_bit_fault():
        return QuantisedTraining(method, distance=None)
    trained = all_answers("logits", quantised_logits(merge.base, merge.checkpoint, questions))
    distance = logit_distance(trained, all_answers("logits", expected), merge.coord_ids)
    return QuantisedTraining(method, distance)


def read_files_back(merge: Merge, promised: Expected) -> tuple[WeightsComparison, int]:
    """Return what the written files hold, and how many beside the weights are the base's.

    Raises:
        CoordExpError: If anything in them is not as it must be.
    """
    tokenizer = load_tokenizer(merge.base)

    def name_row(row: int) -> str:
        if row >= len(tokenizer):
            return "padding"
        return str(tokenizer.convert_ids_to_tokens(row))

    comparison, wrong_weights = read_back(
        merge.base, merge.merged, promised, coord_ids=merge.coord_ids, name_row=name_row
    )
    files_equal, wrong_files = compare_small_files(
        merge.base,
        merge.checkpoint,
        merge.merged,
        tied=promised.tied,
    )
    _refuse([*wrong_weights, *wrong_files])
    return comparison, files_equal


def _refuse(problems: list[str]) -> None:
    if not problems:
        return
    shown = problems[:_MOST_PROBLEMS]
    if more := len(problems) - len(shown):
        shown.append(f"and {more} more")
    raise CoordExpError(
        "the merged model is not certified, and nothing was written:"
        + "".join(f"\n  {problem}" for problem in shown)
    )


def answer_in_isolation(
    model: Path, questions: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], PlainFacts]:
    """Return a merged model's answers, from a process that cannot import CoordExp.

    Raises:
        CoordExpError: If the model cannot be loaded or run there.
    """
    work = model / _WORK
    work.mkdir()
    asked, answered = work / "questions.safetensors", work / "answers.safetensors"
    save_file(dict(questions), asked)
    script = [str(path) for path in (plain_reload.__file__, model, asked, answered)]
    # -P: the script's folder, which is ours, is not importable either.
    done = subprocess.run(
        [sys.executable, "-P", *script], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CoordExpError(f"the merged model cannot be used without CoordExp: {last}")
    answers: dict[str, Tensor] = load_file(answered)
    with safe_open(answered, framework="pt") as file:
        facts = PlainFacts.from_json(file.metadata()["facts"])
    for path in (asked, answered):
        path.unlink()
    work.rmdir()
    return answers, facts


def _structural_problems(facts: PlainFacts, *, tied: bool) -> list[str]:
    problems = []
    word = {True: "tied", False: "untied"}
    if facts.tied is not tied:
        problems.append(f"loaded, its tables are {word[facts.tied]}, not {word[tied]}")
    if set(facts.flags) != {tied}:
        problems.append(f"its tie_word_embeddings are {facts.flags}, not {tied} at each level")
    if facts.foreign:
        problems.append(f"it needs modules of {', '.join(facts.foreign)}")
    if facts.strays:
        problems.append(f"tensors are missing or strange to it, {facts.strays[0]} first")
    return problems


def _base_rows(merge: Merge) -> dict[str, Tensor]:
    """Return the base's own coord rows: with them the merged model has no offsets."""
    if merge.coord_ids is None:
        raise TypeError("coord offsets without coord ids")
    first, last = merge.coord_ids
    embedding = merge.layout.embedding_table
    head = merge.layout.head_table or embedding
    return {
        FIRST_ID: torch.tensor(first),
        "rows.embedding": embedding.load_rows(first, last + 1).float(),
        "rows.head": head.load_rows(first, last + 1).float(),
    }


def _narrow_dtype(layout: BaseLayout, promised: Expected) -> torch.dtype | None:
    """Return the narrowest dtype that something merged is stored in; None where none rounds."""
    before = layout.weights.by_name
    changed = promised.layers.keys() | promised.tables.keys()
    dtypes = {before[promised.source(name)].dtype for name in changed}
    narrow = [
        dtype for dtype in dtypes if torch.finfo(dtype).bits < torch.finfo(torch.float32).bits
    ]
    return max(narrow, key=lambda dtype: torch.finfo(dtype).eps, default=None)


def _stored_dtypes(layout: BaseLayout) -> dict[str, torch.dtype]:
    dtypes = {name: tensor.dtype for name, tensor in layout.by_parameter.items()}
    return {f"{layout.head}.weight": layout.embedding_table.dtype} | dtypes
