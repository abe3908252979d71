"""The model: loading it, adding coord tokens to it, adapting it.

- `load`: opens a base and restores checkpoints, out of folders that `checkpoint_folder` does not
  refuse; `hub` finds one by its name on a hub, where the network may be used (`offline`).
- `vocab_expansion`: the coord tokens, in the weights (`new_rows`) and in the tokenizer
  (`tokenizer_files`); `fitted_rows` fits their rows to what a base knows.
- `shards`, `shard_writing`: weights read and written one tensor at a time.
- `coord_offset`: the adapter that trains just the coord rows; `hidden_head` lets the loss see
  hidden states; `plain_weights` saves a model with offsets as the plain one that computes the same;
  `shifted_rows` adds them in files.
- `adapters`: LoRA or DoRA beside it; `experts`: what of a mixture is no linear layer; `four_bit`
  holds what is frozen under them in four bits.
- `card`, `fingerprint`: `coordexp.json`, and what tells two bases apart.
"""
