"""The model: loading it, adding coord tokens to it, adapting it.

`load` opens a base and restores checkpoints, `vocab_expansion` adds the coord tokens, `fitted_rows`
fits their rows to what a base knows, `coord_offset` is the adapter that trains just their rows,
`adapters` puts LoRA or DoRA beside it, `towers` names the parts of a Qwen-VL model, `fingerprint`
tells two bases apart.
"""
