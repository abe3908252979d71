"""Fingerprints of what an adapter was trained on, so that it is never put on something else."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coordexp.errors import CheckpointError
from coordexp.families.family import VocabularyNames
from coordexp.model.card import WeightsCard
from coordexp.model.shards import load_weights


def rows_fingerprint(rows: Float[Tensor, "K D"]) -> str:
    """Return a hash of some vocabulary rows, the same in every dtype that holds their values."""
    exact = rows.detach().to(device="cpu", dtype=torch.float32).contiguous()
    return hashlib.sha256(exact.numpy().tobytes()).hexdigest()[:32]


def stored_rows(
    base: Path, coord_ids: tuple[int, int], vocabulary: VocabularyNames
) -> Float[Tensor, "_ D"]:
    """Return a checkpoint's rows at the coord ids as they are on the disk.

    What they are loaded as makes no difference: a bf16 base has the same rows whether it runs in
    bf16, in float16 or in float32. Where the head has rows of its own, they follow the embedding's.

    Args:
        base: The checkpoint.
        coord_ids: First and last.
        vocabulary: Names of the matrices.

    Raises:
        CheckpointError: If there are no such rows, or no safetensors weights.
    """
    first, last = coord_ids
    found = {}
    for name, tensor in load_weights(base).by_name.items():
        for ending in vocabulary.weights:
            if name.endswith(ending):
                if tensor.shape[0] <= last:
                    raise CheckpointError(
                        f"{base}: {name} has {tensor.shape[0]} rows, coord ids reach {last}"
                    )
                found[ending] = tensor.load_rows(first, last + 1)
    embedding, head = vocabulary.weights
    if embedding not in found:
        raise CheckpointError(f"{base}: no tensor ends in {embedding}")
    return joined_rows(found[embedding], found.get(head))


def joined_rows(
    embedding: Float[Tensor, "K D"], head: Float[Tensor, "K D"] | None
) -> Float[Tensor, "_ D"]:
    """Return the embedding's rows, and after them the head's where they are others."""
    if head is None or torch.equal(embedding, head):
        return embedding
    return torch.cat([embedding, head])


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of the whole vocabulary, token and id."""
    pairs: Sequence[tuple[str, int]] = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:32]


def check_same_rows(
    card: WeightsCard, rows: Float[Tensor, "_ D"], base: Path | str, path: Path
) -> None:
    """Check that rows at the coord ids are those that a checkpoint was trained on.

    Args:
        card: Of the checkpoint.
        rows: From `stored_rows`, or `coordexp.model.load.coord_rows`.
        base: Whose they are, for the message.
        path: The checkpoint.

    Raises:
        CheckpointError: If they are others.
    """
    if card.coord_ids is not None and rows_fingerprint(rows) != card.coord_rows:
        first, last = card.coord_ids
        raise CheckpointError(
            f"{base}: its coord rows are not the ones that {path} was trained on (ids {first}.."
            f"{last}); what was learned on them means nothing on others. The run's base was "
            f"{card.base}"
        )


def first_difference(there: dict[str, int], here: dict[str, int]) -> str:
    """Say where two vocabularies part."""
    if wrong := sorted(there.items() - here.items(), key=lambda pair: pair[1]):
        token, number = wrong[0]
        ours = f"is {here[token]}" if token in here else "is missing"
        return f"{token} was id {number}, here it {ours}; {len(wrong)} tokens differ"
    extra = sorted(here.keys() - there.keys(), key=lambda token: here[token])
    if not extra:
        return "the checkpoint's own tokenizer has been changed as well"
    return f"{extra[0]} is id {here[extra[0]]} and was not there; {len(extra)} such tokens"
