"""Whether class numbers count from 0, as the names do."""

from collections.abc import Collection, Mapping

from coordexp.errors import InputError


def check_numbers_start_at_0(places: Mapping[int, str], names: Collection[int]) -> None:
    """Check that numbers do not count from 1 where the names count from 0.

    Then the last class has no name, and every other one gets the name of the next: a dataset that
    looks right and is wrong. It shows in a number behind the last name, and in none that is 0.

    Args:
        places: The numbers that are used, and where each stands first.
        names: The numbers that have a name.

    Raises:
        InputError: If they do.
    """
    last_name = max(names, default=-1)
    behind = [number for number in places if number > last_name]
    if behind and 0 in names and min(places) > 0:
        number = max(behind)
        raise InputError(
            f"{places[number]}: class {number}, but the names go from 0 to {last_name}, and 0 is "
            "never used: the class numbers seem to count from 1. Subtract 1 from them, or number "
            "the names as they do"
        )
