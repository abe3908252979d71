import pytest

from coordexp.data.split.parts import Part, parse_parts
from coordexp.errors import InputError


def test_parts_have_names_and_shares() -> None:
    found = parse_parts(["train=0.7", "val=0.2", "test-2=0.1"])
    assert found == (Part("train", 0.7), Part("val", 0.2), Part("test-2", 0.1))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["train=1"], "got 'train=1'"),
        (["train=0.9"], "expected at least two"),
        (["a=0.5", "b=0.4"], "add up to 0.9; expected 1"),
        (["a=0.5", "a=0.5"], "a is given twice"),
        (["a=0.5", "../b=0.5"], "expected NAME=SHARE"),
        (["a=0.5", "b"], "got 'b'"),
        (["a=nan", "b=0.5"], "got 'a=nan'"),
    ],
)
def test_parts_that_are_none_are_refused(given: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_parts(given)
