"""Keys that the contract does not know: no error, and not carried along."""

from collections.abc import Iterable, Iterator

from coordexp.data.contract.record_faults import OBJECT_KEYS, RECORD_KEYS


def unknown_keys(row: Iterable[str], objects: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the unknown keys of a record and its objects, once for each time they stand there.

    Example:
        >>> list(unknown_keys({"width": 3, "id": 7}, [{"desc": "cat", "colour": 3}]))
        ['id', 'objects[].colour']
    """
    if not RECORD_KEYS.issuperset(row):
        yield from (key for key in row if key not in RECORD_KEYS)
    for item in objects:
        if not OBJECT_KEYS.issuperset(item):
            yield from (f"objects[].{key}" for key in item if key not in OBJECT_KEYS)
