"""A draft of the merged model's `README.md`, for a person to complete.

What the base's own card says of its licence is carried over; the card itself is kept beside it as
`README.base.md`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from coordexp.export.certificate import CERTIFICATE, Certificate
from coordexp.export.logit_distance import Distance, LogitDistance
from coordexp.files import write_text
from coordexp.rendering.style import RenderingStyle

CARD = "README.md"
BASE_CARD = "README.base.md"
_CARRIED = ("license", "license_name", "license_link", "language")
_FENCE = "---"
_EXAMPLE = """\
```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("PATH", dtype="auto")
processor = AutoProcessor.from_pretrained("PATH")
```
"""


def write_model_card(
    directory: Path, base: Path, *, style: RenderingStyle, certificate: Certificate | None
) -> None:
    """Write the draft, and the base's card beside it where it has one."""
    carried: Mapping[str, object] = {}
    if (base / CARD).is_file():
        shutil.copyfile(base / CARD, directory / BASE_CARD)
        carried = carried_over((base / CARD).read_text(encoding="utf-8", errors="replace"))
    head = {
        **carried,
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["coordexp", "object-detection", "visual-grounding"],
    }
    parts = [
        f"{_FENCE}\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}"
        f"# base_model: OWNER/NAME of {base.name}\n{_FENCE}",
        f"# {directory.name.removesuffix('.partial')}",
        "<!-- A draft by `coordexp merge`. What only you know is marked TODO. -->",
        f"{base.name}, fine-tuned with CoordExp to answer with boxes.",
        *([] if carried.get("license") else ["TODO: the licence; the base's card names none."]),
        "TODO: what it was trained on, what it is good for, and where it fails.",
        f"## Use\n\n{_EXAMPLE}\nOr with CoordExp, which asks and reads the answers as in training:",
        "    coordexp predict --model PATH --data RECORDS.jsonl --out predictions.jsonl",
        _asked(style),
        f"## Certificate\n\n{_certified(certificate)}",
    ]
    write_text(directory / CARD, "\n\n".join(parts) + "\n")


def carried_over(card: str) -> dict[str, object]:
    r"""Return what a card's metadata says of licence and language.

    Example:
        >>> carried_over("---\nlicense: apache-2.0\ntags: [x]\n---\n# A model")
        {'license': 'apache-2.0'}
    """
    lines = card.splitlines()
    if not lines or lines[0].strip() != _FENCE or _FENCE not in lines[1:]:
        return {}
    try:
        metadata = yaml.safe_load("\n".join(lines[1 : lines.index(_FENCE, 1)]))
    except yaml.YAMLError:
        return {}  # the card itself is kept as it is
    if not isinstance(metadata, dict):
        return {}
    return {key: metadata[key] for key in _CARRIED if key in metadata}


def _asked(style: RenderingStyle) -> str:
    numbers = (
        f"coord tokens {style.alphabet.token(0)} .. {style.alphabet.token(style.alphabet.bins - 1)}"
        if style.coord_tokens
        else f"integers 0..{style.alphabet.bins - 1}"
    )
    lines = [
        "It was trained with this prompt, and answers with one JSON object whose coordinates are "
        f"{numbers}, along each axis from edge to edge:"
    ]
    prompts = [text for text in (style.system_prompt, style.user_prompt) if text is not None]
    return "\n\n".join([*lines, *("\n".join(f"    {x}" for x in p.split("\n")) for p in prompts)])


def _certified(certificate: Certificate | None) -> str:
    if certificate is None:
        return (
            "**Not certified**: merged with `--no-certify`. Nobody has checked that this model "
            "says what was trained."
        )
    asked, weights, generation = certificate.checked_on, certificate.weights, certificate.generation
    lines = [f"| checked on | {asked.kind}: {asked.source} |", "|---|---|"]
    lines.append(
        f"| logits against {certificate.logits.reference} | "
        f"{_largest(certificate.logits.distance)} |"
    )
    if certificate.rounding is not None:
        without = certificate.rounding.without_offsets
        lines.append(
            f"| moved by rounding to {certificate.rounding.dtype} | "
            f"{_rms(certificate.rounding.distance)} |"
        )
        if without is not None:
            lines.append(f"| the same without coord offsets | {_rms(without)} |")
    lines += [
        f"| greedy tokens equal | {generation.equal} of {generation.tokens} |",
        f"| tensors | {weights.tensors}: {weights.equal} the base's bit for bit, "
        f"{weights.merged_layers} merged, {len(weights.coord_rows_exact)} with new coord rows |",
        f"| embedding and head | {'one table' if certificate.tied else 'two tables'} |",
        f"| loads without CoordExp as | `{certificate.reloaded_as}` |",
    ]
    table = "\n".join(lines)
    return f"{table}\n\nIn standard deviations of the logits; all figures are in `{CERTIFICATE}`."


def _largest(distance: LogitDistance) -> str:
    return f"{distance.every.largest:.1e} at most"


def _rms(distance: LogitDistance) -> str:
    kinds: dict[str, Distance | None] = {"coord": distance.coord, "other": distance.other}
    return ", ".join(
        f"{one.rms:.1e} (rms, {kind} ids)" for kind, one in kinds.items() if one is not None
    )
