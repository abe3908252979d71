import gc

from coordexp.evaluation.measure.collector import collector_paused


@collector_paused()
def fails() -> None:
    assert not gc.isenabled()
    with collector_paused():
        pass
    assert not gc.isenabled()
    raise ValueError


def test_the_collector_is_as_it_was_whatever_happens() -> None:
    assert gc.isenabled()
    try:
        fails()
    except ValueError:
        assert gc.isenabled()
