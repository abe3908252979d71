"""`coordexp data export`: records, or what a model said, in the formats of other tools.

- `export`: the whole of it; `labelled`: the pictures and objects of either kind of file.
- `coco`, `yolo`, `labelstudio`, `fiftyone`: a format each.
"""
