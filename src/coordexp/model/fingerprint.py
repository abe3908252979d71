"""Fingerprints of what an adapter was trained on, so that it is never put on something else."""

import hashlib
import json
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def rows_fingerprint(rows: Float[Tensor, "K D"]) -> str:
    """Return a hash of some vocabulary rows, the same in every dtype that holds bf16 exactly."""
    exact = rows.detach().to(device="cpu", dtype=torch.bfloat16).contiguous().view(torch.int16)
    return hashlib.sha256(exact.numpy().tobytes()).hexdigest()[:32]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of the whole vocabulary, token and id."""
    pairs: Sequence[tuple[str, int]] = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:32]
