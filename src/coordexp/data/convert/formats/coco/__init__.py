"""COCO instances: one JSON file of images, annotations and categories.

`coco` is COCO itself. The others are LVIS's as well: `folder` finds annotation files, `document`
opens one, `instances` reads its pictures, `shape` one annotation, `keypoints` its points, and `ids`
says which id means which.
"""

from coordexp.data.convert.formats.coco.coco import FORMAT

__all__ = ["FORMAT"]
