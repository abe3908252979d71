"""What differs is named, and only that."""

import hashlib
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from coordexp.identity import Identity, file_digest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_what_json_reads_back_is_the_same(parts: dict[str, object]) -> None:
    identity = Identity(parts)
    again = Identity(json.loads(json.dumps(parts)))
    assert identity.changed(again) == again.changed(identity) == ()
    assert identity.told_changes(again) == ""


def test_every_difference_is_told_and_nothing_else() -> None:
    before = Identity({"model": "a", "limit": 8, "classes": ("x",), "gone": None})
    now = Identity({"model": "b", "limit": 8, "classes": ["y"], "new": True})
    assert before.changed(now) == ("model", "classes", "gone", "new")
    assert before.told_changes(now) == (
        "model was a and is b; classes was ('x',) and is ['y']; gone was None and is not given; "
        "new was not given and is True"
    )


def test_one_is_not_true_and_none_is_not_missing() -> None:
    assert Identity({"a": 1}).changed(Identity({"a": True})) == ("a",)
    assert Identity({"a": None}).changed(Identity({})) == ("a",)


def test_a_file_has_its_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 70_000)
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"x" * 70_000).hexdigest()
