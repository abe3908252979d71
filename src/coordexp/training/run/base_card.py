"""What a checkpoint of a run must carry about its base."""

from transformers import PreTrainedTokenizerBase

from coordexp.config.schema import Config
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.families.known import load_family
from coordexp.model.card import WeightsCard
from coordexp.model.fingerprint import rows_fingerprint, stored_rows, tokenizer_fingerprint


def build_card(
    config: Config, vocab: CoordVocab | None, tokenizer: PreTrainedTokenizerBase
) -> WeightsCard:
    """Return what a checkpoint of the run must carry about its base."""
    offset = config.custom.coord_offset
    fingerprint = tokenizer_fingerprint(tokenizer)
    ids = None if vocab is None else (vocab.ids[0], vocab.ids[-1])
    if config.tuner.train_type == "full":  # needs no base; its coord rows have the offsets in them
        return WeightsCard(
            base=None, tokenizer=fingerprint, coord_ids=ids, coord_rows=None, tie_head=None
        )
    base = config.model.path
    rows = None if ids is None else stored_rows(base, ids, load_family(base).vocabulary)
    return WeightsCard(
        base=str(base.resolve()),
        tokenizer=fingerprint,
        coord_ids=ids,
        coord_rows=None if rows is None else rows_fingerprint(rows),
        tie_head=offset.tie_head if offset.enabled else None,
        quantization=config.model.quantization,
    )
