import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from coordexp.inference.run.kept_lines import KeptLine, KeptLines

PLACES = st.builds(KeptLine, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
KEYS = st.text(max_size=3) | st.text()


@given(st.lists(st.tuples(KEYS, PLACES)), KEYS)
def test_it_finds_what_a_dict_finds(lines: list[tuple[str, KeptLine]], other: str) -> None:
    kept, known = KeptLines(iter(lines)), dict(lines)
    for key in (*known, other):
        assert kept.find(key) == known.get(key)


def test_of_lines_with_one_key_the_last_counts() -> None:
    kept = KeptLines([("a", KeptLine(0, 9)), ("b", KeptLine(0, 5)), ("a", KeptLine(3, 1))])
    assert kept.find("a") == KeptLine(3, 1)


def test_names_that_no_encoding_has_are_keys_too() -> None:
    kept = KeptLines([("caf\udce9.png", KeptLine(0, 1)), ("\ud83d", KeptLine(0, 2))])
    assert kept.find("caf\udce9.png") == KeptLine(0, 1)
    assert kept.find("\ud83d") == KeptLine(0, 2)


def test_a_line_takes_few_bytes() -> None:
    def lines() -> Iterator[tuple[str, KeptLine]]:
        for number in range(20_000):
            yield f"row {number:024}", KeptLine(number % 8, 5_000 * number)

    tracemalloc.start()
    kept = KeptLines(lines())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.find("row " + "0" * 24) == KeptLine(0, 0)
    assert held < 30 * 20_000
