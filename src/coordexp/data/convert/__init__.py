"""From any dataset to records: COCO, LVIS, Pascal VOC, YOLO, ODVG and labelme.

`run` is the whole conversion and `detect` says which format lies there. One module for each format
(`coco`, `lvis`, `voc`, `yolo`, `odvg`, `labelme`) reads files and yields pictures with shapes, as
`source` describes them, in the file's own numbers and with its mistakes. `mapping` turns a shape
into an object of the contract, with `outline` and `mask` for polygons; `pictures` finds the image
files by `lookup`, the one way from a written path to a file; `embedded` has those that are in no
file, and `places` says how records name them. `documents` opens JSON, XML and YAML, and `report`
counts what became of everything. `coco_*`, `voc_*` and `yolo_*` are parts of their formats,
and `class_numbers` sees where they count from.

The readers are ours. globox 2.9 was tried first: it has boxes only, keeps VOC's 1-based edges as if
they were 0-based, forgets COCO's crowd flags and stops at the first bad file, where here each thing
that cannot be kept is counted. Masks are decoded by faster-coco-eval.
"""
