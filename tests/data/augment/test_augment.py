from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.augment.augment import Augmentation, augmented
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import Record, RecordObject
from coordexp.data.prepare.prepare import tokenise_record

NOTHING = Augmentation(
    flip_left_right=0,
    flip_up_down=0,
    crop=0,
    least_side=0.5,
    least_visible=0.3,
    colour=0,
)
CROP = replace(NOTHING, crop=1)
SIZE = (160, 120)
PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
)


def box(*values: float, desc: str = "cat", marks: Marks | None = None) -> RecordObject:
    return RecordObject(desc, Geometry("bbox_2d", values, "px"), marks=marks or Marks())


def record(*objects: RecordObject, prompt: str | None = None) -> Record:
    return Record(("a.png",), *SIZE, objects, prompt=prompt)


def seen(
    what: Augmentation, of: Record, *, seed: int = 0, epoch: int = 0, index: int = 0
) -> tuple[Record, Image.Image]:
    return augmented(of, PICTURE, what, alphabet=SPEC_ALPHABET, seed=seed, epoch=epoch, index=index)


FOUR = record(box(0, 0, 40, 30), box(120, 0, 160, 30), box(0, 90, 40, 120), box(100, 80, 150, 110))


def test_nothing_asked_for_is_nothing_done() -> None:
    found, picture = seen(NOTHING, FOUR)
    assert found is FOUR
    assert picture is PICTURE


def test_the_same_seed_epoch_and_record_see_the_same_and_others_see_others() -> None:
    everything = Augmentation(
        flip_left_right=0.5, flip_up_down=0.5, crop=1, least_side=0.3, least_visible=0, colour=0.5
    )
    once, again = (seen(everything, FOUR, seed=1, epoch=2, index=3) for _ in range(2))
    assert once[0] == again[0]
    assert once[1].tobytes() == again[1].tobytes()
    others = [
        seen(everything, FOUR, seed=seed, epoch=epoch, index=index)[1].tobytes()
        for seed, epoch, index in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (12, 3, 3))
    ]
    assert len({once[1].tobytes(), *others}) == 5


def test_a_flip_mirrors_picture_and_boxes() -> None:
    found, picture = seen(replace(NOTHING, flip_left_right=1), record(box(10, 20, 50, 60)))
    assert found.objects[0].geometry.values == (110, 20, 150, 60)
    assert (np.asarray(picture) == np.asarray(PICTURE)[:, ::-1]).all()
    found, picture = seen(replace(NOTHING, flip_up_down=1), record(box(10, 20, 50, 60)))
    assert found.objects[0].geometry.values == (10, 60, 50, 100)
    assert (np.asarray(picture) == np.asarray(PICTURE)[::-1]).all()


@pytest.mark.parametrize(
    "spoken",
    [
        record(box(1, 1, 9, 9, desc="left eye"), box(20, 20, 50, 50)),
        record(box(1, 1, 9, 9), prompt="the cat on the right"),
    ],
)
def test_no_picture_is_turned_over_under_words_for_its_sides(spoken: Record) -> None:
    what = replace(NOTHING, flip_left_right=1)
    assert seen(what, spoken) == (spoken, PICTURE)
    found, _ = seen(replace(what, flip_up_down=1), spoken)
    assert found.objects[0].geometry.values == (1, 111, 9, 119)


def test_bins_and_their_exact_pixels_are_turned_over_alike() -> None:
    whole = record(box(10, 20, 50, 60))
    tokens = tokenise_record(whole, SPEC_ALPHABET)
    what = replace(NOTHING, flip_left_right=1)
    assert seen(what, tokens)[0] == seen(what, whole)[0]
    alone = replace(tokens, objects=tuple(replace(item, exact=None) for item in tokens.objects))
    (item,) = seen(what, alone)[0].objects
    expected = [999 - k for k in tokens.objects[0].geometry.values[0::2]]
    assert sorted(item.geometry.to_bins(*SIZE, SPEC_ALPHABET)[0::2]) == sorted(expected)


@given(st.integers(0, 300))
def test_a_window_keeps_what_is_seen_enough_and_never_adds(epoch: int) -> None:
    found, picture = seen(CROP, FOUR, epoch=epoch)
    assert picture.size == PICTURE.size
    assert 1 <= len(found.objects) <= 4
    for item in found.objects:
        x1, y1, x2, y2 = item.geometry.values
        assert 0 <= x1 < x2 <= SIZE[0]
        assert 0 <= y1 < y2 <= SIZE[1]


def test_what_is_seen_too_little_is_left_out() -> None:
    # A window loses a part of the frame around all, and has the small one in the middle.
    frame = record(box(0, 0, *SIZE), box(78, 58, 82, 62))
    what = replace(CROP, least_side=0.5, least_visible=0.99)
    kept = [len(seen(what, frame, epoch=epoch)[0].objects) for epoch in range(40)]
    assert set(kept) == {1}
    all_of_it = replace(what, least_visible=0)
    assert {len(seen(all_of_it, frame, epoch=k)[0].objects) for k in range(40)} == {2}


def test_a_window_with_nothing_to_teach_is_not_taken() -> None:
    corner = record(box(0, 0, 4, 4))
    found = {seen(CROP, corner, epoch=epoch)[0].objects[0].geometry.values for epoch in range(40)}
    assert (0, 0, 4, 4) in found


def test_with_a_prompt_of_its_own_nothing_is_lost() -> None:
    asked = replace(FOUR, prompt="every cat")
    found = [seen(CROP, asked, epoch=epoch)[0] for epoch in range(40)]
    assert {len(item.objects) for item in found} == {4}


def test_an_answer_never_grows() -> None:
    triangle = RecordObject("roof", Geometry("poly", (80, 2, 158, 118, 2, 118), "px"))
    line = RecordObject("wire", Geometry("line", (5, 5, 155, 5), "px"))
    for item in (triangle, line):
        for epoch in range(60):
            found, _ = seen(CROP, record(item), epoch=epoch)
            assert len(found.objects[0].geometry.values) <= len(item.geometry.values)


def test_crowds_are_not_taught_in_any_view() -> None:
    what = replace(NOTHING, flip_left_right=1)
    found, _ = seen(what, record(box(1, 1, 9, 9), box(0, 0, 160, 120, marks=Marks(iscrowd=True))))
    assert len(found.taught) == 1


def test_an_empty_record_stays_empty_and_its_picture_is_seen_otherwise() -> None:
    found, picture = seen(CROP, record())
    assert found.objects == ()
    assert picture.tobytes() != PICTURE.tobytes()


def test_colour_moves_no_box() -> None:
    found, picture = seen(replace(NOTHING, colour=0.4), FOUR)
    assert found is FOUR
    assert picture.tobytes() != PICTURE.tobytes()
