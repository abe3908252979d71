"""How much boxes overlap: the one arithmetic of figures, repeats and the doctor.

Intersection over union is computed as COCO's tools do it, from corner, width and height, so that a
box that just reaches a threshold reaches it everywhere. Over a crowd it is the covered share of the
other box (`maskApi.c` of pycocotools, `bbIou`).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def overlapping(a: Floats, b: Floats, crowd: Bools) -> tuple[Ints, Floats]:
    """Return which pairs of boxes share some area, counted flat, and their IoU.

    Pairs are what `a` and `b` broadcast to. Only for pairs that share something is there more work
    than a look, which is few of them where an image has many boxes.

    Args:
        a: `(..., 4)`, corners `x1, y1, x2, y2`.
        b: The same.
        crowd: Which of `a` are crowds; it broadcasts too.
    """
    ax, ay, aw, ah = _corner_and_size(a)
    bx, by, bw, bh = _corner_and_size(b)
    width = np.minimum(aw + ax, bw + bx) - np.maximum(ax, bx)
    height = np.minimum(ah + ay, bh + by) - np.maximum(ay, by)
    near = np.flatnonzero((width > 0) & (height > 0))
    shape = width.shape
    shared = width.ravel()[near] * height.ravel()[near]
    own = np.broadcast_to(bw * bh, shape).ravel()[near]
    others = np.broadcast_to(aw * ah, shape).ravel()[near]
    union = np.where(np.broadcast_to(crowd, shape).ravel()[near], own, own + others - shared)
    return near, shared / union


def box_ious(one: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """Return the IoU of a box with each of others; two equal boxes without area have 1.

    Example:
        >>> box_ious([0, 0, 2, 2], [[1, 0, 3, 2], [5, 5, 6, 6]]).round(4).tolist()
        [0.3333, 0.0]
    """
    a = np.asarray(one, dtype=np.float64)
    b = np.asarray(others, dtype=np.float64).reshape(-1, 4)
    near, ious = overlapping(a[None], b, np.zeros(1, dtype=np.bool_))
    result = np.zeros(len(b))
    result[near] = ious
    result[(a == b).all(axis=1)] = 1.0
    return result


def _corner_and_size(boxes: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    x, y = boxes[..., 0], boxes[..., 1]
    return x, y, boxes[..., 2] - x, boxes[..., 3] - y
