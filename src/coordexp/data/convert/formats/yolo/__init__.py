"""YOLO: one text file of class numbers and shares for each picture, and a `data.yaml` with names.

`yolo` puts it together: `description` has names and folders, `label_files` finds the label file of
each picture, and `lines` reads them.
"""

from coordexp.data.convert.formats.yolo.yolo import FORMAT

__all__ = ["FORMAT"]
