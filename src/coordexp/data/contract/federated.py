"""What a dataset that was not searched for everything says of one picture, as LVIS does.

::

    "federated": {"absent": ["zebra"], "not_exhaustive": ["grape"],
                  "frequency": {"alarm clock": "c", "grape": "f"}}

Each picture was searched for a few classes: those on it and those in `absent`. A prediction of any
other class is neither right nor wrong. Of the classes in `not_exhaustive` some objects were marked
and others not, so that a prediction which finds none is not wrong. `frequency` says of the classes
on the picture whether they are rare (`r`), common (`c`) or frequent (`f`) in the dataset.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from coordexp.data.contract.faults import Fault, raise_first
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.rules import FEDERATED
from coordexp.data.contract.text import unicode_faults

Frequency = Literal["r", "c", "f"]
FREQUENCIES: tuple[Frequency, ...] = get_args(Frequency)
_KEYS = ("absent", "not_exhaustive", "frequency")


@dataclass(frozen=True, slots=True)
class Federated:
    """What is known of a picture's classes.

    Args:
        absent: Classes that were looked for and are not there.
        not_exhaustive: Classes of which not every object is marked.
        frequency: Of classes in the dataset, those on the picture at least.
    """

    absent: tuple[str, ...]
    not_exhaustive: tuple[str, ...]
    frequency: Mapping[str, Frequency]


def parse_federated(data: Mapping[str, object]) -> Federated | None:
    """Return what a record or a prediction says under `federated`, None where it says nothing.

    Raises:
        RecordError: If the key holds something else than two lists of class names and frequencies.
    """
    value = data.get("federated")
    if value is None:
        return None
    raise_first(federated_faults(value))
    known = cast("dict[str, list[str]]", value)
    return Federated(
        absent=tuple(known.get("absent", ())),
        not_exhaustive=tuple(known.get("not_exhaustive", ())),
        frequency=cast("Mapping[str, Frequency]", known.get("frequency", {})),
    )


def federated_faults(value: object) -> Iterator[Fault]:
    """Yield what is wrong with the value of `federated`; None says nothing, and is fine."""
    if value is None:
        return
    if not isinstance(value, dict) or not set(_KEYS).issuperset(value):
        message = f"federated: expected an object of {', '.join(_KEYS)}, got {shown(value)}"
        yield Fault(FEDERATED, message)
        return
    for key in ("absent", "not_exhaustive"):
        yield from _name_faults(f"federated.{key}", value.get(key, []))
    yield from _frequency_faults("federated.frequency", value.get("frequency", {}))


def federated_to_json(federated: Federated) -> dict[str, object]:
    """Return the value that `parse_federated` reads."""
    return {
        "absent": list(federated.absent),
        "not_exhaustive": list(federated.not_exhaustive),
        "frequency": dict(federated.frequency),
    }


def _name_faults(key: str, names: object) -> Iterator[Fault]:
    if not isinstance(names, list):
        yield Fault(FEDERATED, f"{key}: expected a list of class names, got {shown(names)}")
        return
    for name in names:
        if not isinstance(name, str) or not name.strip():
            yield Fault(FEDERATED, f"{key}: expected class names, got {shown(name)}")
        else:
            yield from unicode_faults(key, name, FEDERATED)


def _frequency_faults(key: str, value: object) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(FEDERATED, f"{key}: expected an object, got {shown(value)}")
        return
    for name, frequency in value.items():
        yield from unicode_faults(key, name, FEDERATED)
        if frequency not in FREQUENCIES:
            expected = f"one of {', '.join(FREQUENCIES)} for {shown(name)}"
            yield Fault(FEDERATED, f"{key}: expected {expected}, got {shown(frequency)}")
