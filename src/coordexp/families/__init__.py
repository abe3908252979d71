"""Model families: what one kind of model has of its own, one folder each.

- `family`: the value that says it, and `vocabulary` endings, `boxes` as text, all without torch.
- `picture_grid`: sizes at which a picture is looked at; `towers`: the parts of a model by name.
- `config_file`: reads what a checkpoint says of itself.
- `known`: which families there are, and which one a checkpoint belongs to.
- `inputs`: the half with torch, what a family's model is handed; only for `rendering` and above.
- `recurrent_layers`: layers that carry a state from token to token, for training and decoding.
- `qwen3_vl`, `qwen2_5_vl`, `qwen3_5`, `qwen3_vl_moe`, `qwen3_5_moe`: the families; `qwen_vl`: what
  these have in common.

No other package knows a family's name. Whoever needs something of it is given the family, or the
one value of it that is needed. docs/add-a-family.md says what a new one takes.
"""
