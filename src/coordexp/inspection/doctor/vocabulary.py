"""The base's vocabulary: ids in the tokenizer, rows in the weights, and whether they are tied."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from coordexp.config.schema import Config
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.families.config_file import load_config
from coordexp.families.known import family_of, load_family
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, judged
from coordexp.model.load import check_base, load_tokenizer
from coordexp.model.shards import StoredTensor, load_weights
from coordexp.training.run.build import build_vocab

_EXPAND = "add the coord tokens with: coordexp vocab expand SRC DST, and train on DST"
# Rows at the beginning of the vocabulary by which embedding and head are told apart.
_COMPARED = 256
_EMBEDDING, _HEAD = "embedding", "head"


@dataclass(frozen=True, slots=True)
class KnownVocab:
    """The base's coord vocabulary.

    Args:
        vocab: None for the text baseline.
    """

    vocab: CoordVocab | None


@dataclass(frozen=True, slots=True)
class CheckedBase:
    """The base's folder, which is there and whole as far as its headers tell.

    Args:
        path: Of the folder.
        tokenizer: As it is loaded.
        stored: Headers of its vocabulary matrices by what they are.
    """

    path: Path
    tokenizer: PreTrainedTokenizerBase
    stored: Mapping[str, StoredTensor]


def base(pieces: Pieces) -> CheckResult:
    """Look whether the base is there, with all that every check after this one reads."""
    config = pieces.take(Config)
    path = config.model.path
    check_base(path, adapts_experts=config.tuner.train_experts)
    tokenizer, stored = load_tokenizer(path), stored_matrices(path)
    weights = load_weights(path).by_name.values()
    pieces.put(CheckedBase(path, tokenizer, stored))
    count = sum(math.prod(tensor.shape) for tensor in weights)
    return CheckResult("green", f"{path}: {count / 1e6:,.1f} million parameters")


def tokenizer_ids(pieces: Pieces) -> CheckResult:
    """Look whether every coord token is one id, in bin order, and is read back as that id."""
    config, tokenizer = pieces.take(Config), pieces.take(CheckedBase).tokenizer
    vocab = build_vocab(config)
    if vocab is None:
        pieces.put(KnownVocab(None))
        return CheckResult("green", f"{len(tokenizer):,} tokens; plain integers, no coord tokens")
    written = "".join(vocab.alphabet.tokens())
    if tokenizer.encode(written, add_special_tokens=False) != list(vocab.ids):
        return CheckResult(
            "red",
            f"the tokenizer knows {vocab.alphabet.token(0)} and yet splits coord tokens in a text",
            f"they must be special tokens; {_EXPAND}",
        )
    pieces.put(KnownVocab(vocab))
    ids = (
        f"{vocab.alphabet.token(0)} is {vocab.ids[0]}, the last of {len(vocab.ids)} {vocab.ids[-1]}"
    )
    return CheckResult("green", f"{len(tokenizer):,} tokens; {ids}")


def vocabulary_rows(pieces: Pieces) -> CheckResult:
    """Look whether the weights have a sound row for every coord id."""
    stored, vocab = pieces.take(CheckedBase).stored, pieces.take(KnownVocab).vocab
    rows = stored[_EMBEDDING]
    found = f"{rows.shape[0]:,} rows of {rows.shape[1]}"
    if vocab is None:
        return CheckResult("green", f"{found}; no coord tokens are used")
    if vocab.ids.stop > rows.shape[0]:
        return CheckResult("red", f"{found}, but coord ids reach {vocab.ids[-1]}", _EXPAND)
    coord = rows.load_rows(vocab.ids.start, vocab.ids.stop).float()
    different = len(torch.unique(coord, dim=0))
    doubts = [
        Doubt(not torch.isfinite(coord).all(), "red", "some coord rows are not finite", _EXPAND),
        Doubt(
            different < len(coord),
            "yellow",
            f"only {different} of {len(coord)} coord rows are different",
            "rows that start alike learn alike; expand with --init digits",
        ),
    ]
    return judged(f"{found}, {rows.shape[0] - vocab.ids.stop:,} of them padding", doubts)


def tying(pieces: Pieces) -> CheckResult:
    """Compare what the base says of its head with what is stored."""
    config, known = pieces.take(Config), pieces.take(CheckedBase)
    tied, stored = tied_as_told(known.path), known.stored
    offset = config.custom.coord_offset
    has_head = _HEAD in stored
    text = load_family(known.path).text_block
    doubts = [
        Doubt(
            tied is None,
            "yellow",
            f"tie_word_embeddings differs between config.json and its {text}",
            "give both the same value, the one that the weights were trained with",
        ),
        Doubt(
            tied is True and has_head and not _same(stored),
            "red",
            "but a head of its own is stored",
            f"set tie_word_embeddings: false in config.json and its {text}, or remove the head",
        ),
        Doubt(
            tied is False and not has_head,
            "red",
            "but none are stored",
            f"set tie_word_embeddings: true in config.json and its {text}",
        ),
        Doubt(
            tied is True and offset.enabled and not offset.tie_head,
            "yellow",
            "each gets offsets of its own, and merging has to untie them",
            "custom.coord_offset.tie_head: true keeps the merged model as small as the base",
        ),
    ]
    found = "embedding and head are tied" if tied else "the head has weights of its own"
    if offset.enabled:
        found += "; one table of offsets" if offset.tie_head else "; two tables of offsets"
    return judged(found, doubts)


def tied_as_told(path: Path) -> bool | None:
    """Return what a checkpoint's configuration says, None where it contradicts itself.

    Raises:
        CheckpointError: If it cannot be read.
    """
    config = load_config(path)
    told = {
        bool(block["tie_word_embeddings"])
        for block in (config, family_of(config, source=path / "config.json").text_config(config))
        if "tie_word_embeddings" in block
    }
    if len(told) > 1:
        return None
    return told.pop() if told else False


def stored_matrices(path: Path) -> Mapping[str, StoredTensor]:
    """Return the headers of a checkpoint's vocabulary matrices by what they are.

    Raises:
        CheckpointError: If there is no embedding.
    """
    names = load_family(path).vocabulary
    found = {
        kind: tensor
        for name, tensor in load_weights(path).by_name.items()
        for kind, ending in ((_EMBEDDING, names.embedding_weight), (_HEAD, names.head_weight))
        if name.endswith(ending)
    }
    if _EMBEDDING not in found:
        raise CheckpointError(f"{path}: no tensor ends in {names.embedding_weight}")
    return found


def _same(stored: Mapping[str, StoredTensor]) -> bool:
    matrices = [stored[_EMBEDDING], stored[_HEAD]]
    count = matrices[0].shape[0]
    if matrices[1].shape[0] != count:
        return False
    places = [(0, min(_COMPARED, count)), (max(0, count - 4 * _COMPARED), count)]
    return all(
        torch.equal(*(matrix.load_rows(first, stop).float() for matrix in matrices))
        for first, stop in places
    )
