"""Pascal VOC: one XML file for each picture.

`voc` reads them, `corners` decides where their corners count from, and `split` reads the lists of
`ImageSets/`.
"""

from coordexp.data.convert.formats.voc.voc import FORMAT

__all__ = ["FORMAT"]
