"""`coordexp_certificate.json`: the figures that a merged model has earned.

`docs/export.md` explains every field.
"""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import coordexp
from coordexp.export.logit_distance import LogitDistance
from coordexp.export.read_back import WeightsComparison
from coordexp.files import write_text
from coordexp.identity import file_digest

CERTIFICATE = "coordexp_certificate.json"
FORMAT_VERSION = 1
UNIT = "standard deviations of the reference's logits"
_LIBRARIES = ("torch", "transformers", "peft", "safetensors")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """What was merged.

    Args:
        base: The name of the base's folder.
        adapter: The name of the checkpoint's folder.
        adapter_sha256: Of `adapter_model.safetensors`.
        method: `LoRA`, `DoRA` or `coord offsets alone`.
        rank: Of the adapter's layers, where it has some.
        tie_head: Whether one offset table served embedding and head; None without offsets.
        tokenizer: The tokenizer's fingerprint.
    """

    base: str
    adapter: str
    adapter_sha256: str
    method: str
    rank: int
    tie_head: bool | None
    tokenizer: str


@dataclass(frozen=True, slots=True)
class CheckedOn:
    """What both models were asked.

    Args:
        kind: `records` or `random token ids`.
        source: The file's name; for random ids why there were no records.
        lines: Which lines of it.
        positions: Over how many positions logits were compared.
    """

    kind: str
    source: str
    lines: tuple[int, ...]
    positions: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The merged model's logits against those that it must give.

    Args:
        reference: `the adapter`, or `the adapter merged in memory and rounded to ...`.
        distance: How far apart they are.
        limit: On the largest difference.
    """

    reference: str
    distance: LogitDistance
    limit: float


@dataclass(frozen=True, slots=True)
class Rounding:
    """What storing weights in a narrow dtype has moved, against the unrounded adapter.

    Args:
        dtype: That the weights are stored in.
        distance: Of the merged model.
        without_offsets: The same of merged model and adapter without coord offsets: what rounding
            costs anyway. None where there are no offsets.
        held: Which figure of `distance` is held against the same one of `without_offsets`.
        limit: The rule for it.
    """

    dtype: str
    distance: LogitDistance
    without_offsets: LogitDistance | None
    held: Literal["rms", "typical"]
    limit: str


@dataclass(frozen=True, slots=True)
class Generation:
    """Greedy answers of both models.

    Args:
        tokens: How many the adapter generated.
        equal: How many of them the merged model generated before the first that differs.
        required: Whether all had to be: for float32 weights.
    """

    tokens: int
    equal: int
    required: bool


@dataclass(frozen=True, slots=True)
class QuantisedTraining:
    """What training on a quantised base means for the merged model. It bounds nothing.

    The merged model is the adapter on the base as it is stored. The adapter has learned on another.

    Args:
        method: How the base was quantised.
        distance: Of the adapter's logits on the quantised base from those on the base as it is
            stored; None where nothing here can quantise.
    """

    method: str
    distance: LogitDistance | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """Everything that was checked.

    Args:
        origin: What was merged.
        dtype: Of the vocabulary.
        tied: Whether embedding and head share one table, as promised and as loaded.
        weights: What the weights' files hold.
        files_equal: How many other files are the base's, byte for byte.
        checked_on: What both models were asked.
        logits: The merged model against what it must say.
        rounding: None where no weight was rounded.
        quantization: None where the adapter was trained on the base as it is stored.
        generation: Greedy answers.
        reloaded_as: The class of transformers that it was loaded as, without CoordExp.
    """

    origin: Origin
    dtype: str
    tied: bool
    weights: WeightsComparison
    files_equal: int
    checked_on: CheckedOn
    logits: Agreement
    rounding: Rounding | None
    quantization: QuantisedTraining | None
    generation: Generation
    reloaded_as: str


def write_certificate(directory: Path, certificate: Certificate) -> None:
    """Write the certificate into a finished directory, with the hash of every file there."""
    content = {
        "format_version": FORMAT_VERSION,
        "made_with": {"coordexp": coordexp.__version__, "python": platform.python_version()}
        | {name: version(name) for name in _LIBRARIES},
        "unit": UNIT,
        **asdict(certificate),
        "files": {path.name: file_digest(path) for path in _files(directory)},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(directory / CERTIFICATE, text + "\n")


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.name != CERTIFICATE:
            yield path
