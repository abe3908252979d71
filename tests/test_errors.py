from pathlib import Path

import pytest

from coordexp.errors import (
    CheckpointError,
    ConfigError,
    CoordExpError,
    InputError,
    RecordError,
)


@pytest.mark.parametrize(
    ("error", "code"), [(CoordExpError, 1), (InputError, 2), (ConfigError, 2), (CheckpointError, 2)]
)
def test_bad_input_exits_with_two_and_a_failed_run_with_one(
    error: type[CoordExpError], code: int
) -> None:
    assert error("x").exit_code == code


def test_a_record_error_says_where_as_far_as_it_knows() -> None:
    file = Path("val.jsonl")
    assert str(RecordError("no")) == "no"
    assert str(RecordError("no", obj=3)) == "objects[3]: no"
    assert str(RecordError("no", file=file)) == "val.jsonl: no"
    assert str(RecordError("no", obj=3).at(file, 17)) == "val.jsonl:17: objects[3]: no"
    assert RecordError("no").exit_code == 2
