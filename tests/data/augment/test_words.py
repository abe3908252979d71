import pytest

from coordexp.data.augment.words import speaks_of_sides


@pytest.mark.parametrize(
    ("text", "across", "down"),
    [
        ("the left cat", True, False),
        ("person left_eye", True, False),
        ("Rightmost cup", True, False),
        ("left-hand drawer", True, False),
        ("bright light, upright", False, False),
        ("a copyright sign", False, False),
        ("top shelf", False, True),
        ("the cup above it", False, True),
        ("bottom-left corner", True, True),
        ("a laptop, a supper, a cover", False, False),
        ("左边的猫", True, False),
        ("上面的猫", False, True),
        ("", False, False),
    ],
)
def test_words_for_sides_are_known(text: str, across: bool, down: bool) -> None:
    assert speaks_of_sides(["a cat", text], "left_right") == across
    assert speaks_of_sides([text], "up_down") == down
