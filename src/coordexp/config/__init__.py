"""The YAML of a run, checked once and then trusted.

`schema` is every key with its type, default and meaning (`training` and `custom` are its two large
blocks); `yaml_file` reads strict YAML and follows `extends`; `problems` says what is wrong, all of
it at once, by dotted path; `load` puts them together; `document` writes `docs/config.md` from the
schema. Nothing here imports torch.
"""
