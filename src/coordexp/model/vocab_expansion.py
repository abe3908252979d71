"""Adding the coord tokens to a base checkpoint.

::

    before  [ text and specials | padding ]
    after   [ text and specials | <|coord_*|> | <|coord_0|> .. <|coord_999|> | padding ]

and the number of rows afterwards is a multiple of 128.

The new rows overwrite padding rows, which no token ever used; every other row stays bit-identical
and the matrix never shrinks. Only files that hold a vocabulary matrix are rewritten, the others are
copied.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.files import whole_directory, write_text
from coordexp.model.load import load_tokenizer

Init = Literal["mean", "digits"]

VOCAB_MATRICES = ("embed_tokens.weight", "lm_head.weight")
ROW_MULTIPLE = 128
SMOOTHING_BINS = 15


@dataclass(frozen=True, slots=True)
class Expansion:
    """What an expansion did.

    Args:
        first_id: The id of bin 0.
        last_id: The id of the last bin.
        rows_before: Vocabulary rows before.
        rows_after: Vocabulary rows after, padding included.
        tensors: The matrices that grew.
        init: How the new rows were filled.
    """

    first_id: int
    last_id: int
    rows_before: int
    rows_after: int
    tensors: tuple[str, ...]
    init: Init


def expand_vocabulary(
    src: Path, dst: Path, *, alphabet: CoordAlphabet, init: Init, overwrite: bool = False
) -> Expansion:
    """Write a copy of a checkpoint whose vocabulary has the coord tokens.

    Args:
        src: A Qwen-VL-style checkpoint with safetensors weights.
        dst: The new checkpoint; it appears when it is complete.
        alphabet: Number and spelling of the bins.
        init: `mean` fills every new row with the mean of all rows in use; `digits` with the mean of
            the rows of the number's text, smoothed along the axis so that neighbours start near
            each other.
        overwrite: Whether `dst` may exist.

    Raises:
        CheckpointError: If `src` has coord tokens already or is no such checkpoint.
        InputError: If `dst` exists and is not to be overwritten.
    """
    config = _load_json(src / "config.json")
    tokenizer = load_tokenizer(src)
    if alphabet.token(0) in tokenizer.get_vocab():
        raise CheckpointError(f"{src}: its vocabulary has coord tokens already")
    pieces = [tokenizer.encode(str(k), add_special_tokens=False) for k in range(alphabet.bins)]
    used = len(tokenizer)
    vocab = _add_tokens(tokenizer, alphabet)
    weights = sorted(src.glob("*.safetensors"))
    if not weights:
        raise CheckpointError(f"{src}: no *.safetensors weights")
    with whole_directory(dst, overwrite=overwrite) as partial:
        tokenizer.save_pretrained(partial)
        grown: dict[str, tuple[int, int]] = {}
        for file in weights:
            grown |= _expand_file(file, partial / file.name, vocab, used, pieces, init)
        if not grown:
            raise CheckpointError(f"{src}: no tensor ends in {' or '.join(VOCAB_MATRICES)}")
        rows_before, rows_after = next(iter(grown.values()))
        _set_vocab_sizes(config, rows_after)
        _write_json(partial / "config.json", config)
        _copy_rest(src, partial)
    return Expansion(
        first_id=vocab.ids[0],
        last_id=vocab.ids[-1],
        rows_before=rows_before,
        rows_after=rows_after,
        tensors=tuple(sorted(grown)),
        init=init,
    )


def _add_tokens(tokenizer: PreTrainedTokenizerBase, alphabet: CoordAlphabet) -> CoordVocab:
    wildcard = [] if alphabet.wildcard is None else [alphabet.wildcard]
    tokenizer.add_tokens([*wildcard, *alphabet.tokens()], special_tokens=True)
    return CoordVocab.from_tokenizer(tokenizer, alphabet)


def _expand_file(
    src: Path, dst: Path, vocab: CoordVocab, used: int, pieces: list[list[int]], init: Init
) -> dict[str, tuple[int, int]]:
    """Copy one weights file, its vocabulary matrices grown; return their rows before and after."""
    try:
        with safe_open(src, framework="pt") as file:
            names = list(file.keys())
            if not any(name.endswith(VOCAB_MATRICES) for name in names):
                shutil.copyfile(src, dst)
                return {}
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(f"{src}: cannot be read: {error}") from None
    grown = {}
    for name in names:
        if name.endswith(VOCAB_MATRICES):
            before = tensors[name]
            tensors[name] = _expand_matrix(before, vocab, used, pieces, init)
            grown[name] = (len(before), len(tensors[name]))
    save_file(tensors, dst, metadata=metadata)
    return grown


def _expand_matrix(
    rows: Float[Tensor, "V D"], vocab: CoordVocab, used: int, pieces: list[list[int]], init: Init
) -> Float[Tensor, "W D"]:
    mean = rows[:used].float().mean(0)
    needed = max(len(rows), vocab.ids.stop)
    padded = -(-needed // ROW_MULTIPLE) * ROW_MULTIPLE
    result = torch.empty(padded, rows.shape[1], dtype=rows.dtype)
    result[: len(rows)] = rows
    # Rows beyond the old matrix, and the wildcard's, get the mean; old padding rows stay.
    result[len(rows) :] = mean.to(rows.dtype)
    result[used : vocab.first_id] = mean.to(rows.dtype)
    filled = mean.expand(len(vocab.ids), -1) if init == "mean" else _digit_rows(rows, pieces)
    result[vocab.first_id : vocab.ids.stop] = filled.to(rows.dtype)
    return result


def _digit_rows(rows: Float[Tensor, "V D"], pieces: list[list[int]]) -> Float[Tensor, "K D"]:
    """Return the mean row of each number's text, smoothed by a moving average over the bins."""
    raw = torch.stack([rows[ids].float().mean(0) for ids in pieces])
    half = SMOOTHING_BINS // 2
    edges = torch.nn.functional.pad(raw.T[None], (half, half), mode="replicate")
    return torch.nn.functional.avg_pool1d(edges, SMOOTHING_BINS, stride=1)[0].T


def _load_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content


def _write_json(path: Path, content: dict[str, object]) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _set_vocab_sizes(config: dict[str, object], rows: int) -> None:
    for key, value in config.items():
        if key == "vocab_size":
            config[key] = rows
        elif isinstance(value, dict):
            _set_vocab_sizes(value, rows)


def _copy_rest(src: Path, dst: Path) -> None:
    """Copy every file that is not there yet: processors, templates, generation, shard index."""
    for path in sorted(src.iterdir()):
        if path.is_file() and not (dst / path.name).exists():
            shutil.copyfile(path, dst / path.name)
