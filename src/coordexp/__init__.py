"""CoordExp teaches a vision-language model to point.

Detection and grounding are written as JSON whose numbers are single vocabulary tokens. Read on in
this order: `coord_tokens.codec`, `objective.distribution`, `model.coord_offset`, `training.run`.

The packages, lowest layer first:

- `coord_tokens`: pixels, bins and tokens
- `data`: the record contract
- `rendering`: records to token ids
- `model`: loading, and the coord-offset adapter
- `objective`: the loss
- `viewing`: pictures and pages
- `scenes`: painted pictures with exact boxes
- `answers`: what a model said, to objects with scores
- `client`: the same over HTTP
- `config`: the YAML
- `tiny`: a model for a laptop
- `export`: merging
- `inference`: pictures to answers
- `evaluation`: boxes to figures
- `rewards`: what an answer is worth
- `rollouts`: a model's own answers as records
- `training`: the run
- `integrations`: the run inside ms-swift
- `serving`: a model behind an address
- `lab`: studies
- `quickstart`: all of it in minutes
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "Client": "coordexp.client.detect",
    "CoordAlphabet": "coordexp.coord_tokens.codec",
    "CoordSoftCEW1LossMixin": "coordexp.training.loop.trainer",
    "annotate_coord_tokens": "coordexp.data.contract.record",
    "apply_coord_template_adapter": "coordexp.integrations.ms_swift.template",
    "install_coord_offset_adapter": "coordexp.model.coord_offset",
    "ints_to_tokens": "coordexp.coord_tokens.specification",
    "is_coord_token": "coordexp.coord_tokens.specification",
    "load_checkpoint": "coordexp.model.load",
    "predict": "coordexp.inference.run.single",
    "reattach_coord_offset_hooks": "coordexp.model.coord_offset",
    "stage1_loss": "coordexp.objective",
    "token_to_int": "coordexp.coord_tokens.specification",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604 - names of strings, resolved lazily


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `import coordexp` costs nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'coordexp' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
