"""A model small enough for a laptop, and the bases that the package ships.

- `model`: a Qwen3-VL of a few million parameters with its tokenizer and processor files
- `shipped`: the bases by their names
- `base/`: that model, pretrained to answer with plain integers; its README tells how it came about.
  What pretrained it is `tools/tiny_base` in the repository, and not installed.
- `grafted/`: the same in coord tokens, out of `coordexp vocab graft`; `graft.json` has its figures
"""
