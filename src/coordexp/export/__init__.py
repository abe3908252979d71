"""From an adapter checkpoint to a plain Hugging Face model.

`bake` folds the coord offsets into the vocabulary, `merge` does that and LoRA or DoRA and writes
the result, `verify` compares what was written with what was trained.
"""
