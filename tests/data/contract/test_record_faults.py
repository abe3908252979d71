"""One stream of faults: whoever reads stops at the first, whoever audits gets them all."""

import json
import math
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.chat import chat_faults, parse_sample, sample_faults
from coordexp.data.contract.faults import Fault, raise_first
from coordexp.data.contract.json_line import decode_closely
from coordexp.data.contract.record import record_faults
from coordexp.data.contract.record_faults import RECORD_KEYS
from coordexp.data.contract.rules import NO_AREA, NOT_JSON
from coordexp.errors import RecordError

Row = dict[str, object]
CAT: Row = {"desc": "cat", "bbox_2d": [1, 2, 3, 4]}


def row(*objects: object, **changes: object) -> Row:
    return {"images": ["a.png"], "width": 64, "height": 48, "objects": list(objects), **changes}


def found(data: Row) -> list[tuple[str, int | None]]:
    return [(fault.rule.name, fault.obj) for fault in record_faults(data, SPEC_ALPHABET)]


junk = st.sampled_from([None, True, 3, -1, 0.5, math.nan, 10**400, "", "a", "<|im_end|>", [], {}])
rows = st.dictionaries(
    st.sampled_from(sorted(RECORD_KEYS)), st.one_of(junk, st.lists(junk, max_size=2))
).map(lambda changes: row(CAT, **changes))
chats = st.fixed_dictionaries(
    {"messages": st.one_of(junk, st.lists(junk, max_size=2))}, optional={"images": junk, "x": junk}
)


@given(st.one_of(rows, chats, junk))
def test_what_is_read_has_no_fault_and_what_is_refused_has_the_first(data: object) -> None:
    told = [(fault.message, fault.obj) for fault in sample_faults(data, SPEC_ALPHABET)][:1]
    refused = []
    try:
        parse_sample(data, SPEC_ALPHABET)
    except RecordError as error:
        refused.append((error.message, error.obj))
    assert refused == told


def test_nothing_is_looked_for_behind_the_first_fault() -> None:
    def faults() -> Iterator[Fault]:
        yield Fault(NO_AREA, "flat", obj=3)
        raise AssertionError("looked further")

    with pytest.raises(RecordError, match=r"objects\[3\]: flat"):
        raise_first(faults())


def test_a_million_bad_objects_cost_no_more_than_one_to_refuse() -> None:
    class Endless(list[object]):
        def __iter__(self) -> Iterator[object]:
            while True:
                yield 5

    assert len(list(islice(record_faults(row(objects=Endless()), SPEC_ALPHABET), 3))) == 3


def test_one_fault_hides_no_other() -> None:
    bad = {"desc": "<|im_end|> at <|coord_1|>", "bbox_2d": [70, 9, 5, math.inf], "iscrowd": 2}
    data = row(CAT, bad, images=["/a"], height=0, prompt="<|im_end|>", resized=[0, 0])
    assert found(data) == [
        ("image-path", None),
        ("size", None),
        ("desc-coord-token", 1),
        ("special-token", 1),
        ("outside-image", 1),
        ("not-finite", 1),
        ("corner-order", 1),
        ("marks", 1),
        ("special-token", None),
        ("resized", None),
        ("resized", None),
    ]


def test_every_fault_of_a_chat_is_found() -> None:
    messages = [{"role": "user", "content": "<image>"}, {"role": "tool", "content": "<|im_end|>"}]
    faults = list(
        chat_faults({"messages": messages, "images": ["../a", "b"], "id": 1}, SPEC_ALPHABET)
    )
    names = [fault.rule.name for fault in faults]
    assert names == ["chat", "special-token", "chat", "chat", "image-path", "chat"]


def test_a_fault_of_the_json_names_its_object_and_leaves_the_rest_to_be_read() -> None:
    text = json.dumps(row(CAT, CAT)).replace('"desc"', '"area": NaN, "desc": "a", "desc"', 1)
    value, faults = decode_closely(text.encode())
    assert value is not None
    assert [(fault.rule.name, fault.obj) for fault in faults] == [
        ("not-finite", 0),
        ("doubled-key", 0),
    ]
    assert [fault.rule for fault in decode_closely(b"{")[1]] == [NOT_JSON]
