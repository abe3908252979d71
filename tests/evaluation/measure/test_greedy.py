"""Taking turns tile by tile gives what one long loop over all pairs gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coordexp.evaluation.measure.greedy import IOU_THRESHOLDS, STEPS, Rivalry, Taking
from coordexp.evaluation.measure.overlap import Overlaps

TRUE, SAID = 4, 6
# Few values, so that many are equal.
tables = st.lists(
    st.lists(st.sampled_from([0.0, 0.5, 0.6, 0.74, 0.75, 1.0]), min_size=TRUE, max_size=TRUE),
    min_size=SAID,
    max_size=SAID,
)
flags = st.lists(st.booleans(), min_size=TRUE, max_size=TRUE)


def taken_one_by_one(
    table: list[list[float]], passed: list[bool], crowd: list[bool]
) -> tuple[list[list[int]], list[list[bool]]]:
    """Return `truth_of` and `excused` by COCO's own rules, in loops."""
    truth_of = [[-1] * SAID for _ in range(STEPS)]
    excused = [[False] * SAID for _ in range(STEPS)]
    for step, threshold in enumerate(IOU_THRESHOLDS):
        used = [False] * TRUE
        for said, row in enumerate(table):
            free = [k for k in range(TRUE) if row[k] >= threshold and not used[k]]
            ranked = sorted(free, key=lambda k: (passed[k], -row[k], -k))
            if ranked:
                best = ranked[0]
                used[best] = not crowd[best]
                if passed[best]:
                    excused[step][said] = True
                else:
                    truth_of[step][said] = best
    return truth_of, excused


@given(tables, flags, flags, st.sets(st.integers(1, SAID - 1)))
def test_tiles_change_nothing(
    table: list[list[float]], passed: list[bool], crowd: list[bool], cuts: set[int]
) -> None:
    crowd = [one and other for one, other in zip(passed, crowd, strict=True)]
    taking = Taking(SAID, passed=np.array(passed), crowd=np.array(crowd))
    for rows in np.split(np.arange(SAID), sorted(cuts)):
        said, true = np.nonzero(np.array(table)[rows])
        taking.take(Rivalry.of(Overlaps(true, rows[said], np.array(table)[rows][said, true])))
    truth_of, excused = taken_one_by_one(table, passed, crowd)
    assert taking.truth_of.tolist() == truth_of
    assert taking.excused.tolist() == excused
