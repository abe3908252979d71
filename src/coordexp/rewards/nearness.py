"""How near the boxes come: the GIoU of matched pairs, over true and predicted objects alike.

    nearness = 2 x sum of max(0, GIoU) / (true + predicted)

A soft F1: each pair counts as much as it overlaps. Pairs are one to one within a class, the nearest
first (`pairs`). Source: the generalized IoU (Rezatofighi et al., CVPR 2019), which falls below the
IoU where a pair is shifted. An empty answer about an empty picture is worth 1.

Cut off at zero, where the usual `(1 + GIoU) / 2` is not: that one pays 0.5 for a box as large as
the picture, whatever is in it, and something for a box of the right class anywhere.

Cheats: one giant box is worth the share of the picture that its object covers, which is much for
pictures of one large object. Tiny boxes, duplicates and a safe box gain as little as by F1.
"""

import numpy as np

from coordexp.evaluation.measure.instances import Floats
from coordexp.rewards.attempts import Attempts
from coordexp.rewards.pairs import nearest_pairs


def nearness(attempts: Attempts) -> Floats:
    """Return the term; it is defined for every answer."""
    truth = attempts.matches.instances.truth
    pairs = nearest_pairs(attempts.matches, truth.counted, attempts.judged)
    worth = np.bincount(truth.image[pairs.true], weights=pairs.giou, minlength=len(attempts))
    share = attempts.share(worth, truth.counted, attempts.judged)
    return np.where(np.isnan(share), 1.0, share)
