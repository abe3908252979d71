"""The main job on data and a model that ship with the package.

- `run`, `stages`: the quickstart itself, the product's own commands one after the other.
- `report`, `beliefs`: the page that it ends with.
- `scenes`: handwritten digits on photos, with exact boxes, as ordinary records.
- `tiny_model`: a Qwen3-VL of a few million parameters with its tokenizer and processor files.
- `pretrain`: teaches that model to answer with plain integers; ran once, to make `tiny_base/`.
  Its parts are `pretrain_data`, `pretrain_forward`, `pretrain_model` and `pretrain_optimizer`.
- `tiny_base/`: the pretrained result; its README tells how it came about.
"""
