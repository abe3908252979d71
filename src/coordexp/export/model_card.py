"""A draft of a `README.md` for a person to complete: of what a run trained, or of a merged model.

What the base's own card says of its licence is carried over; the card itself is kept beside it as
`README.base.md`.
"""

import shutil
from pathlib import Path

import yaml

from coordexp.export.certificate import CERTIFICATE, Certificate
from coordexp.export.logit_distance import Distance, LogitDistance
from coordexp.files import write_text
from coordexp.model.card import load_origin
from coordexp.rendering.style import RenderingStyle

CARD = "README.md"
BASE_CARD = "README.base.md"
_CARRIED = ("license", "license_name", "license_link", "language")
_FENCE = "---"
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_EXAMPLE = """\
```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("PATH", dtype="auto")
processor = AutoProcessor.from_pretrained("PATH")
```
"""
_PREDICT = "    coordexp predict --model PATH --data RECORDS.jsonl --out predictions.jsonl"


def write_model_card(
    directory: Path, base: Path, *, style: RenderingStyle, certificate: Certificate | None
) -> None:
    """Write the draft, and the base's card beside it where it has one."""
    if (base / CARD).is_file():
        shutil.copyfile(base / CARD, directory / BASE_CARD)
    parts = [
        *_head(base, "transformers", name=directory.name.removesuffix(".partial"), by="merge"),
        f"{base.name}, fine-tuned with CoordExp to answer with boxes.",
        *_for_people(base),
        f"## Use\n\n{_EXAMPLE}\nOr with CoordExp, which asks and reads the answers as in training:",
        _PREDICT,
        _asked(style),
        *_unthinking(base),
        f"## Certificate\n\n{_certified(certificate)}",
    ]
    write_text(directory / CARD, "\n\n".join(parts) + "\n")


def write_trained_card(
    directory: Path, base: Path, *, name: str, style: RenderingStyle, adapter: bool
) -> None:
    """Write the draft beside what a run has trained, in place of PEFT's empty form.

    Args:
        directory: Of the weights.
        base: That was trained.
        name: Of the run.
        style: Of the run.
        adapter: Whether the weights are an adapter; else they are a whole model.
    """
    if adapter:
        library = "peft"
        told = (
            f"An adapter of {base.name}, trained with CoordExp to answer with boxes. It needs that "
            "base, with the coord tokens where it was trained with them, until it is merged."
        )
        use = "    coordexp merge PATH MODEL\n\nIt can be asked without being merged:"
    else:
        library = "transformers"
        told = f"{base.name}, trained as a whole with CoordExp to answer with boxes."
        use = f"{_EXAMPLE}\nOr with CoordExp, which asks and reads the answers as in training:"
    parts = [
        *_head(base, library, name=name, by="train"),
        told,
        *_for_people(base),
        f"## Use\n\n{use}",
        _PREDICT,
        _asked(style),
        *_unthinking(base),
    ]
    write_text(directory / CARD, "\n\n".join(parts) + "\n")


def _carried(base: Path) -> dict[str, object]:
    if not (base / CARD).is_file():
        return {}
    return carried_over((base / CARD).read_text(encoding="utf-8", errors="replace"))


def _head(base: Path, library: str, *, name: str, by: str) -> list[str]:
    origin = load_origin(base)
    head = {
        **_carried(base),
        **({} if origin is None else {"base_model": origin.hub}),
        "library_name": library,
        "pipeline_tag": "image-text-to-text",
        "tags": ["coordexp", "object-detection", "visual-grounding"],
    }
    to_add = f"# base_model: OWNER/NAME of {base.name}\n" if origin is None else ""
    return [
        f"{_FENCE}\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}{to_add}{_FENCE}",
        f"# {name}",
        f"<!-- A draft by `coordexp {by}`. What only you know is marked TODO. -->",
    ]


def _for_people(base: Path) -> list[str]:
    licence = "TODO: the licence; the base's card names none."
    return [
        *([] if _carried(base).get("license") else [licence]),
        "TODO: what it was trained on, what it is good for, and where it fails.",
    ]


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


def _unthinking(base: Path) -> list[str]:
    """Return what to tell a template that would have the model think first."""
    texts = [base / name for name in _TEMPLATES if (base / name).is_file()]
    if not any("enable_thinking" in text.read_text(encoding="utf-8") for text in texts):
        return []
    return [
        "It was trained to answer without thinking first: pass `enable_thinking=False` to "
        "`apply_chat_template`."
    ]


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
    if certificate.quantization is not None:
        moved = certificate.quantization.distance
        told = "not measured" if moved is None else _rms(moved)
        lines.append(
            f"| moved by {certificate.quantization.method} of the base in training, which this "
            f"model has not | {told} |"
        )
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
