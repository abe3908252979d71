"""Everything beside the weights, read back: configuration, tokenizer, processor, card."""

import filecmp
import json
from pathlib import Path

from coordexp.export.base_layout import CONFIG
from coordexp.export.tensor_reader import weight_files
from coordexp.families.known import load_family
from coordexp.model.card import CARD_NAME, load_card_section, load_weights_card
from coordexp.model.shards import INDEX_FILE, SINGLE_FILE

_TIE = "tie_word_embeddings"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx", INDEX_FILE)
_PAPERS = {"README.md", CARD_NAME, "coordexp_certificate.json"}


def compare_small_files(
    base: Path, checkpoint: Path, merged: Path, *, tied: bool
) -> tuple[int, list[str]]:
    """Return how many files are the base's byte for byte, and everything that is not as it must be.

    Args:
        base: The base's directory.
        checkpoint: The adapter's.
        merged: The merged model's, before it gets a model card.
        tied: Whether embedding and head must share one table.
    """
    kept = {path.name for path in base.iterdir() if path.is_file() and _is_kept(path.name)}
    own = {CARD_NAME, *weight_files(merged)}
    if SINGLE_FILE not in own:
        own.add(INDEX_FILE)
    problems = [
        f"{name}: is neither the base's nor made by merging"
        for name in sorted({path.name for path in merged.iterdir()} - kept - own)
    ]
    before = _flat(_json(base / CONFIG))
    flags = _tying_flags(before, load_family(base).text_block)
    if not tied and any(before.get(flag) != "false" for flag in flags):
        kept.remove(CONFIG)
        problems += _untied_config_problems(base, merged)
    for name in sorted(kept):
        if not (merged / name).is_file():
            problems.append(f"{name}: is missing")
        elif not filecmp.cmp(base / name, merged / name, shallow=False):
            problems.append(f"{name}: differs from the base's{_where(base / name, merged / name)}")
    return len(kept), problems + _card_problems(checkpoint, merged)


def _is_kept(name: str) -> bool:
    return not name.endswith((*_WEIGHTS, ".index.json")) and name not in _PAPERS


def _untied_config_problems(base: Path, merged: Path) -> list[str]:
    """Return what differs beside the flag, and where the flag is not false."""
    before, after = _flat(_json(base / CONFIG)), _flat(_json(merged / CONFIG))
    flags = _tying_flags(before | after, load_family(base).text_block)
    wrong = [
        f"{CONFIG}: {key} is {_shown(after, key)}; expected false"
        for key in sorted(flags)
        if after.get(key) != "false"
    ]
    return wrong + [
        f"{CONFIG}: {key} is {_shown(after, key)}; expected {_shown(before, key)}, as in the base"
        for key in sorted(before.keys() | after.keys())
        if key not in flags and before.get(key) != after.get(key)
    ]


def _tying_flags(config: dict[str, str], text_block: str) -> set[str]:
    """Return the keys that say whether embedding and head are tied, at every level."""
    flags = {key for key in config if key.split(".")[-1] == _TIE} | {_TIE}
    if any(key.startswith(f"{text_block}.") for key in config):
        flags.add(f"{text_block}.{_TIE}")
    return flags


def _where(base: Path, merged: Path) -> str:
    """Return which keys of two JSON files differ, to be read after their name."""
    if base.suffix != ".json":
        return ""
    before, after = _flat(_json(base)), _flat(_json(merged))
    keys = [
        key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)
    ]
    return f" in {keys[0]}" if keys else ""


def _card_problems(checkpoint: Path, merged: Path) -> list[str]:
    ours, theirs = load_weights_card(merged), load_weights_card(checkpoint)
    problems = []
    if (ours.tokenizer, ours.coord_ids) != (theirs.tokenizer, theirs.coord_ids):
        problems.append(f"{CARD_NAME}: another tokenizer or other coord ids than the adapter's")
    if (ours.base, ours.coord_rows, ours.tie_head) != (None, None, None):
        problems.append(f"{CARD_NAME}: says that it needs a base")
    if load_card_section(merged, "style") != load_card_section(checkpoint, "style"):
        problems.append(f"{CARD_NAME}: another style than the adapter's")
    return problems


def _json(path: Path) -> object:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    """Return every value of a JSON object by its dotted key, as text."""
    if not isinstance(value, dict):
        return {prefix: json.dumps(value)}
    return {
        key: text
        for name, part in value.items()
        for key, text in _flat(part, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _shown(values: dict[str, str], key: str) -> str:
    return values.get(key, "missing")
