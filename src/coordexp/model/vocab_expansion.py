"""Adding the coord tokens to a base checkpoint.

::

    before  [ text and specials | padding ]
    after   [ text and specials | <|coord_*|> | <|coord_0|> .. <|coord_999|> | padding ]

and the number of rows afterwards is a multiple of 128.

The new rows overwrite padding rows, which no token ever used; every other row stays bit-identical
and the matrix never shrinks. Weights are streamed: what does not change is copied in small pieces,
and of the vocabulary matrices one at a time is in memory. The tokenizer's own files get the new
tokens and are otherwise left as they are (`coordexp.model.tokenizer_files`).

Shapes: `V` rows before, `W` after, `D` width, `K` bins.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.families.config_file import load_object
from coordexp.families.family import Family
from coordexp.families.known import family_of
from coordexp.files import check_writable, copy_missing_files, whole_directory, write_text
from coordexp.model.card import HubOrigin, write_origin
from coordexp.model.load import load_tokenizer
from coordexp.model.new_rows import NewRows, expand_matrix
from coordexp.model.shard_writing import NewTensor, write_weights
from coordexp.model.shards import StoredTensor, Weights, load_weights
from coordexp.model.tokenizer_files import add_tokens, check_tokenizer_files

Init = Literal["mean", "digits"]

ROW_MULTIPLE = 128

# Weights in other formats would keep the old vocabulary.
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf"}


@dataclass(frozen=True, slots=True)
class Expansion:
    """What an expansion does.

    Args:
        coord_ids: First and last coord id; None where only padding is added.
        rows_before: Vocabulary rows before.
        rows_after: Vocabulary rows after, padding included.
        tensors: The matrices that grow.
        init: How the new tokens' rows are filled; None where only padding is added.
        num_bytes: Of all weights afterwards.
    """

    coord_ids: tuple[int, int] | None
    rows_before: int
    rows_after: int
    tensors: tuple[str, ...]
    init: Init | None
    num_bytes: int


def expand_vocabulary(
    src: Path | str,
    dst: Path | str,
    *,
    alphabet: CoordAlphabet,
    init: Init,
    head_rows: Float[Tensor, "K D"] | None = None,
    origin: HubOrigin | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Expansion:
    """Write a copy of a checkpoint whose vocabulary has the coord tokens.

    Args:
        src: A checkpoint of a known family, with safetensors weights.
        dst: The new checkpoint; it appears when it is complete.
        alphabet: Number and spelling of the bins.
        init: `mean` fills every new row with the mean of all rows in use; `digits` with the mean of
            the rows of the number's text, smoothed along the axis so that neighbours start near
            each other.
        head_rows: The coord tokens' rows of the head, as `fit_coord_rows` returns them; with a tied
            table, of the embedding too. None leaves them to `init`.
        origin: Which model of a hub `src` is; None where it is none, or says so itself.
        overwrite: Whether `dst` may exist.
        dry_run: Check everything and write nothing.

    Raises:
        CheckpointError: If `src` has coord tokens already or is no such checkpoint.
        InputError: If `dst` exists and is not to be overwritten, or holds `src` or lies in it.
    """
    src, dst = Path(src), Path(dst)
    config, tokenizer = _open(src)
    known = tokenizer.get_vocab()
    wildcard = () if alphabet.wildcard is None else (alphabet.wildcard,)
    names = (*wildcard, *alphabet.tokens())
    if taken := [name for name in names if name in known]:
        raise CheckpointError(
            f"{src}: its vocabulary has coord tokens already; {taken[0]} is id {known[taken[0]]}"
        )
    pieces = (
        tuple(tokenizer.encode(str(k), add_special_tokens=False)) for k in range(alphabet.bins)
    )
    used = len(tokenizer)
    new = NewRows(
        used=used,
        rows=_padded(used + len(names)),
        names=names,
        pieces=tuple(pieces) if init == "digits" else (),
        head=head_rows,
    )
    last = used + len(names) - 1
    done = _rewrite(src, dst, config, new, origin, overwrite=overwrite, dry_run=dry_run)
    return replace(done, coord_ids=(last - alphabet.bins + 1, last), init=init)


def pad_vocabulary(
    src: Path | str,
    dst: Path | str,
    *,
    origin: HubOrigin | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Expansion:
    """Write a copy whose matrices hold every token of the tokenizer, in a multiple of 128 rows.

    No token is added; new rows get the mean of the rows in use. Arguments and errors as in
    `expand_vocabulary`.

    Raises:
        CheckpointError: If there is nothing to pad, or `src` is no checkpoint.
        InputError: If `dst` exists and is not to be overwritten, or holds `src` or lies in it.
    """
    src, dst = Path(src), Path(dst)
    config, tokenizer = _open(src)
    used = len(tokenizer)
    new = NewRows(used=used, rows=_padded(used), names=(), pieces=())
    return _rewrite(src, dst, config, new, origin, overwrite=overwrite, dry_run=dry_run)


def _open(src: Path) -> tuple[dict[str, object], PreTrainedTokenizerBase]:
    config = load_object(src / "config.json")
    check_tokenizer_files(src)
    return config, load_tokenizer(src)


def _rewrite(
    src: Path,
    dst: Path,
    config: dict[str, object],
    new: NewRows,
    origin: HubOrigin | None,
    *,
    overwrite: bool,
    dry_run: bool,
) -> Expansion:
    weights = load_weights(src)
    family = family_of(config, source=src / "config.json")
    matrices = _vocabulary_matrices(src, config, weights, family)
    before = matrices[0].shape[0]
    new = replace(new, rows=max(new.rows, _padded(before)))
    if not new.names and new.rows == before:
        raise CheckpointError(
            f"{src}: nothing to pad; its {before} rows hold all {new.used} tokens and are a "
            f"multiple of {ROW_MULTIPLE}"
        )
    names = {tensor.name for tensor in matrices}
    shards = _grown(weights, names, new, head=family.vocabulary.head_weight)
    _check_apart(src, dst)
    check_writable(dst, overwrite=overwrite)
    if not dry_run:
        with whole_directory(dst, overwrite=overwrite) as unfinished:
            write_weights(unfinished, shards, metadata={"format": "pt"} | weights.metadata)
            _set_vocab_sizes(config, new.rows)
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            write_text(unfinished / "config.json", text)
            add_tokens(src, unfinished, new.names, first_id=new.used)
            copy_missing_files(src, unfinished, wanted=lambda path: not _is_weights(path))
            if origin is not None:
                write_origin(unfinished, origin)
            _check_ids(unfinished, new)
    return Expansion(
        coord_ids=None,
        rows_before=before,
        rows_after=new.rows,
        tensors=tuple(sorted(tensor.name for tensor in matrices)),
        init=None,
        num_bytes=sum(tensor.num_bytes for shard in shards for tensor in shard),
    )


def _vocabulary_matrices(
    src: Path, config: dict[str, object], weights: Weights, family: Family
) -> list[StoredTensor]:
    """Return the matrices with a row for each token, after checking that they agree."""
    endings = family.vocabulary.weights
    matrices = [t for t in weights.by_name.values() if t.name.endswith(endings)]
    if not matrices:
        raise CheckpointError(f"{src}: no tensor ends in {' or '.join(endings)}")
    if config.get("quantization_config") is not None:
        raise CheckpointError(f"{src}: quantised weights cannot be expanded; take the original")
    size = family.text_config(config).get("vocab_size")
    for tensor in matrices:
        if tensor.shape[0] != size:
            raise CheckpointError(
                f"{src}: config.json says vocab_size {size}, {tensor.name} has {tensor.shape[0]} "
                "rows"
            )
        if not tensor.dtype.is_floating_point:
            raise CheckpointError(
                f"{src}: {tensor.name} is stored as {tensor.code}; expected floating point"
            )
    return matrices


def _grown(
    weights: Weights, matrices: set[str], new: NewRows, *, head: str
) -> list[list[StoredTensor | NewTensor]]:
    # A tied base stores no head of its own.
    tied = not any(name.endswith(head) for name in matrices)

    def grow(tensor: StoredTensor) -> NewTensor:
        is_head = tied or tensor.name.endswith(head)
        make = partial(expand_matrix, tensor, new if is_head else replace(new, head=None))
        return NewTensor(tensor.name, tensor.dtype, (new.rows, tensor.shape[1]), make)

    return [
        [grow(tensor) if tensor.name in matrices else tensor for tensor in shard]
        for shard in weights.shards
    ]


def _padded(rows: int) -> int:
    return -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE


def _set_vocab_sizes(config: dict[str, object], rows: int) -> None:
    for key, value in config.items():
        if key == "vocab_size":
            config[key] = rows
        elif isinstance(value, dict):
            _set_vocab_sizes(value, rows)


def _check_apart(src: Path, dst: Path) -> None:
    source, target = src.resolve(), dst.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise InputError(f"{dst}: is {src}, holds it or lies in it; choose another place")


def _check_ids(directory: Path, new: NewRows) -> None:
    """Read the tokenizer back: do the tokens have the ids whose rows were filled?"""
    known = load_tokenizer(directory).get_vocab()
    if wrong := [name for i, name in enumerate(new.names, start=new.used) if known.get(name) != i]:
        raise CoordExpError(
            f"{directory}: the tokenizer gives {wrong[0]} the id {known.get(wrong[0])}, expected "
            f"{new.used + new.names.index(wrong[0])}; nothing was written"
        )


def _is_weights(path: Path) -> bool:
    return path.suffix in _WEIGHT_SUFFIXES or path.name.endswith(".index.json")
