"""The YAML of a run, checked once and then trusted.

- `schema`: every key with its type, default and meaning; `block` is what its blocks share,
  `training` and `custom` the two large ones, `augment` another, `class_list` one of `custom`.
- `yaml_file`: reads strict YAML and follows `extends`; `load` makes a configuration of it.
- `problems`: says what is wrong, all of it at once, by dotted path.
- `deepspeed`: DeepSpeed's own file.
- `document`: writes `docs/config.md` from the schema.

Nothing here imports torch.
"""
