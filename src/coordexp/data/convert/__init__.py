"""From any dataset to records: COCO, LVIS, Pascal VOC, YOLO, ODVG and labelme.

- `conversion`: all of it; `detect` says which format lies there.
- `coco` (`coco_ids`, `coco_shape`), `lvis`, `voc` (`voc_corners`, `voc_split`), `yolo`
  (`yolo_description`, `yolo_labels`, `yolo_lines`), `odvg`, `labelme`: a format each. They read
  files and yield pictures with `shapes`, in the file's own numbers and with its mistakes.
- `class_numbers`: where a file's classes count from.
- `documents`: JSON, XML, YAML and text that others wrote.
- `lookup`: the one way from a written path to a file; `pictures` finds images by it, `embedded` has
  those that are in no file, `places` says how records name them.
- `mapping`: from a shape to an object of the contract, with `outline` and `mask` for polygons.
- `tally`: what became of everything.

The readers are ours. globox 2.9 was tried first: it has boxes only, keeps VOC's 1-based edges as if
they were 0-based, forgets COCO's crowd flags and stops at the first bad file, where here each thing
that cannot be kept is counted. Masks are decoded by faster-coco-eval.
"""
