import pytest

from coordexp.data.convert.reading.class_numbers import check_numbers_start_at_0
from coordexp.errors import InputError


def test_a_number_behind_the_last_name_and_no_0_show_that_they_count_from_1() -> None:
    with pytest.raises(InputError, match=r"a.txt:3: class 2, but the names go from 0 to 1"):
        check_numbers_start_at_0({1: "a.txt:1", 2: "a.txt:3"}, [0, 1])


@pytest.mark.parametrize(
    ("used", "names"),
    [([0, 2], [0, 1]), ([1], [0, 1]), ([1, 3], [1, 2]), ([-1, 2], [0, 1]), ([], [0]), ([1], [])],
)
def test_anything_else_shows_nothing(used: list[int], names: list[int]) -> None:
    check_numbers_start_at_0(dict.fromkeys(used, "a.txt:1"), names)
