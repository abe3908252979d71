"""The main job on data and a model that ship with the package.

- `pipeline`, `stages`: the quickstart itself, the product's own commands one after the other.
- `report`, `curves`, `beliefs`: the page that it ends with; `templates/` holds its HTML.
- `scenes`: handwritten digits on photos, with exact boxes, as ordinary records.
- `tiny_model`: a Qwen3-VL of a few million parameters with its tokenizer and processor files.
- `tiny_base/`: that model, pretrained to answer with plain integers; its README tells how it came
  about. What pretrained it is `tools/tiny_base` in the repository, and not installed.
"""
