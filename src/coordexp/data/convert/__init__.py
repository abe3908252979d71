"""From any dataset to records: COCO, LVIS, Pascal VOC, YOLO, ODVG and labelme.

- `conversion`: all of it; `detect` says which format lies there.
- `formats`: a module or folder each. They read files and yield pictures with shapes.
- `reading`: what all formats need for that, and what a format is.
- `pictures`: finding images and naming them.
- `objects`: from a shape to an object of the contract.

The readers are ours. globox 2.9 was tried first: it has boxes only, keeps VOC's 1-based edges as if
they were 0-based, forgets COCO's crowd flags and stops at the first bad file, where here each thing
that cannot be kept is counted. Masks are decoded by faster-coco-eval.
"""
