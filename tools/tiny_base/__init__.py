"""How the tiny base was made; `src/coordexp/tiny/base` is the result.

- `pretrain`: the run, `python -m tools.tiny_base.pretrain --out DIR --minutes 44`.
- `batches`: fresh scenes as patches, token ids and dense targets.
- `pretrainer`: the losses, with the dense heads that are thrown away.
- `forward`: the model's own modules over whole batches of pictures of one size.
- `optimizer`: Muon for the matrices.
"""
