"""Records and pictures as training sees them in one epoch: turned over, cut out, in other colours.

- `augment`: `augmented`, from a record and its picture to another pair, by seed, epoch and record.
- `view`: the part of a picture that is looked at; where it puts boxes, outlines, lines and points.
- `words`: descs and prompts that speak of sides, which no picture may be turned over under.

It is ours, on Pillow, because nothing that is kept up does it as a record needs it: torchvision's
`transforms.v2` (boxes and keypoints), kornia (the same, on tensors) and imgaug (not kept up) draw
from global random states, so a resumed run would see other pictures, and cut no polygons;
albumentations ended in 2025, and its successor is under the AGPL.
"""
