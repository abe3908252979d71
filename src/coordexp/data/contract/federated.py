"""What a dataset that was not searched for everything says of one picture, as LVIS does.

::

    "federated": {"absent": ["zebra"], "not_exhaustive": ["grape"],
                  "frequency": {"alarm clock": "c", "grape": "f"}}

Each picture was searched for a few classes: those on it and those in `absent`. A prediction of any
other class is neither right nor wrong. Of the classes in `not_exhaustive` some objects were marked
and others not, so that a prediction which finds none is not wrong. `frequency` says of the classes
on the picture whether they are rare (`r`), common (`c`) or frequent (`f`) in the dataset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from coordexp.data.contract.geometry import shown
from coordexp.data.contract.text import check_unicode
from coordexp.errors import RecordError

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
    if not isinstance(value, dict) or not set(_KEYS).issuperset(value):
        raise RecordError(
            f"federated: expected an object of {', '.join(_KEYS)}, got {shown(value)}"
        )
    return Federated(
        absent=_names(value, "absent"),
        not_exhaustive=_names(value, "not_exhaustive"),
        frequency=_frequencies(value.get("frequency", {})),
    )


def federated_to_json(federated: Federated) -> dict[str, object]:
    """Return the value that `parse_federated` reads."""
    return {
        "absent": list(federated.absent),
        "not_exhaustive": list(federated.not_exhaustive),
        "frequency": dict(federated.frequency),
    }


def _names(value: Mapping[str, object], key: str) -> tuple[str, ...]:
    names = value.get(key, [])
    if not isinstance(names, list):
        raise RecordError(f"federated.{key}: expected a list of class names, got {shown(names)}")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise RecordError(f"federated.{key}: expected class names, got {shown(name)}")
        check_unicode(f"federated.{key}", name)
    return tuple(names)


def _frequencies(value: object) -> Mapping[str, Frequency]:
    if not isinstance(value, dict):
        raise RecordError(f"federated.frequency: expected an object, got {shown(value)}")
    for name, frequency in value.items():
        check_unicode("federated.frequency", name)
        if frequency not in FREQUENCIES:
            raise RecordError(
                f"federated.frequency: expected one of {', '.join(FREQUENCIES)} for {shown(name)}, "
                f"got {shown(frequency)}"
            )
    return value
