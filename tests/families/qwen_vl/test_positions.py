import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
)

from coordexp.families.qwen_vl.positions import mrope_positions
from tests.families.tiny_mixture import small_qwen3_vl_moe_config
from tests.families.tiny_models import small_qwen2_5_vl_config
from tests.families.tiny_recurrent import small_qwen3_5_config, small_qwen3_5_moe_config
from tests.model.small import small_model

MERGE_SIZE = 2
IMAGE_TYPE = 1

grids = st.tuples(st.just(1), st.integers(1, 5), st.integers(1, 5)).map(
    lambda grid: (grid[0], grid[1] * MERGE_SIZE, grid[2] * MERGE_SIZE)
)
# Text first, then pictures with at least one text token after each: Qwen frames every picture.
layouts = st.tuples(
    st.integers(0, 6), st.lists(st.tuples(grids, st.integers(1, 5)), min_size=1, max_size=4)
)


def flatten(
    layout: tuple[int, list[tuple[tuple[int, int, int], int]]],
) -> tuple[list[bool], list[tuple[int, int, int]]]:
    before, pictures = layout
    is_image = [False] * before
    for (frames, high, wide), after in pictures:
        is_image += [True] * (frames * high * wide // MERGE_SIZE**2) + [False] * after
    return is_image, [grid for grid, _ in pictures]


OTHERS = {
    "qwen2_5_vl": (Qwen2_5_VLForConditionalGeneration, small_qwen2_5_vl_config),
    "qwen3_5": (Qwen3_5ForConditionalGeneration, small_qwen3_5_config),
    "qwen3_vl_moe": (Qwen3VLMoeForConditionalGeneration, small_qwen3_vl_moe_config),
    "qwen3_5_moe": (Qwen3_5MoeForConditionalGeneration, small_qwen3_5_moe_config),
}


@pytest.fixture(scope="module", params=["qwen3_vl", *OTHERS])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    if request.param == "qwen3_vl":
        return small_model()
    kind, small_config = OTHERS[request.param]
    return kind(small_config(rows=96, tied=True))


@given(layout=layouts)
def test_positions_are_the_models_own(
    model: PreTrainedModel, layout: tuple[int, list[tuple[tuple[int, int, int], int]]]
) -> None:
    is_image, grids_thw = flatten(layout)
    ours = mrope_positions(is_image, grids_thw, MERGE_SIZE)
    theirs, _ = model.model.get_rope_index(
        torch.zeros(1, len(is_image), dtype=torch.long),
        torch.tensor([is_image]).int() * IMAGE_TYPE,
        torch.tensor(grids_thw),
    )
    assert torch.equal(torch.tensor(ours), theirs[:, 0])


def test_text_alone_counts_up() -> None:
    assert mrope_positions([False] * 3, [], MERGE_SIZE) == ([0, 1, 2],) * 3


def test_nothing_has_no_positions() -> None:
    assert mrope_positions([], [], MERGE_SIZE) == ([], [], [])


def test_the_picture_in_the_module_docstring() -> None:
    is_image = [False, False, *[True] * 6, False]
    assert mrope_positions(is_image, [(1, 4, 6)], MERGE_SIZE) == (
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    )


@pytest.mark.parametrize(
    ("is_image", "grids_thw", "message"),
    [
        ([False, True], [], "no grid is left"),
        ([True, False], [(1, 4, 2)], "needs 2 placeholders"),
        ([False, True], [(1, 4, 2)], "needs 2 placeholders"),
        ([False], [(1, 2, 2)], "more image grids"),
    ],
)
def test_placeholders_must_add_up_to_the_grids(
    is_image: list[bool], grids_thw: list[tuple[int, int, int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mrope_positions(is_image, grids_thw, MERGE_SIZE)
