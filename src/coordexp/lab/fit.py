"""Coord tokens whose rows are fitted to what a base knows: forward passes and one convex problem.

This is the cheap half of a graft. The base reads records, its own answers or true ones, and is
looked at where it is about to write a number; see `coordexp.model.fitted_rows`. Nothing else of the
base changes.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.errors import InputError
from coordexp.files import write_text
from coordexp.inference.run.predictor import load_predictor
from coordexp.lab.slots import collect_places
from coordexp.model.card import WeightsCard, load_origin, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.fitted_rows import Places, fit_coord_rows
from coordexp.model.load import load_coord_vocab, load_tokenizer
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.rendering.style import style_to_json

FIGURES = "fit.json"
WAVES = 160
"""The shortest is 12 bins long: as sharp as the target."""
SIGMA = 3.0
DECAY = 5e-3
ITERATIONS = 30
_HELDOUT_SHARE = 0.1
_NEAR_BINS = 5


@dataclass(frozen=True, slots=True)
class FitFigures:
    """How well fitted rows read a base, on numbers that they were not fitted to.

    Args:
        numbers: To which they were fitted.
        heldout: On which they were measured.
        median_error: Of the likeliest bin, in bins.
        near_share: How often it is at most 5 bins off.
        row_length: Mean length of a row.
        text_row_length: The same of the text's rows.
    """

    numbers: int
    heldout: int
    median_error: float
    near_share: float
    row_length: float
    text_row_length: float


def fit_base(
    base: Path, records: Path, dst: Path, *, batch_size: int, overwrite: bool
) -> FitFigures:
    """Write a base with fitted coord tokens and return how well they read it.

    Args:
        base: A checkpoint that answers in integers, with its `coordexp.json`.
        records: JSONL of records.
        dst: Appears when it is complete.
        batch_size: Records at once.
        overwrite: Whether `dst` may exist.

    Raises:
        InputError: If `base` answers in coord tokens already.
        CoordExpError: If the records hold no number.
    """
    predictor = load_predictor(base)
    if predictor.vocab is not None:
        raise InputError(f"{base}: answers in coord tokens already; give the base before that")
    alphabet = predictor.style.alphabet
    places = collect_places(predictor, records, batch_size=batch_size)
    tokenizer = load_tokenizer(base)
    head = predictor.model.get_output_embeddings()
    text = head.weight.detach().float().cpu()[: len(tokenizer)]
    heldout = torch.arange(len(places.bins)) >= int(len(places.bins) * (1 - _HELDOUT_SHARE))
    rows = fit_coord_rows(
        Places(places.hidden[~heldout], places.bins[~heldout], places.elsewhere),
        text,
        num_bins=alphabet.bins,
        waves=min(WAVES, alphabet.bins // 2),
        sigma=SIGMA,
        decay=DECAY,
        iterations=ITERATIONS,
    )
    error = ((places.hidden[heldout] @ rows.T).argmax(-1) - places.bins[heldout]).abs().float()
    figures = FitFigures(
        numbers=int((~heldout).sum()),
        heldout=int(heldout.sum()),
        median_error=float(error.median()),
        near_share=float((error <= _NEAR_BINS).float().mean()),
        row_length=float(rows.norm(dim=1).mean()),
        text_row_length=float(text.norm(dim=1).mean()),
    )
    expand_vocabulary(
        base, dst, alphabet=alphabet, init="digits", head_rows=rows, overwrite=overwrite
    )
    style = replace(predictor.style, coord_tokens=True)
    write_card(
        dst, style=style_to_json(style), weights=_card(dst, alphabet), origin=load_origin(base)
    )
    write_text(dst / FIGURES, json.dumps(asdict(figures), indent=2) + "\n")
    return figures


def _card(dst: Path, alphabet: CoordAlphabet) -> WeightsCard:
    vocab = load_coord_vocab(dst, alphabet)
    return WeightsCard(
        base=None,
        tokenizer=tokenizer_fingerprint(load_tokenizer(dst)),
        coord_ids=(vocab.ids[0], vocab.ids[-1]),
        coord_rows=None,
        tie_head=None,
    )
