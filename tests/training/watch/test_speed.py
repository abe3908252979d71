import itertools

import pytest
import torch
from torch import Tensor

from coordexp.training.watch import speed
from coordexp.training.watch.speed import Load, PhaseClock, SpeedWindow

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second after the one before."""
    ticks = itertools.count(1.0)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(speed, "peak_memory_gb", lambda _: 1.5)


def alone(values: Tensor) -> Tensor:
    return values


def take_step(window: SpeedWindow, *, records: int, tokens: int) -> None:
    window.begin_step()
    assert list(window.waiting_for(iter(["batch"]))) == ["batch"]  # 2 s: the batch, and the end
    window.add_load(Load(records=records, tokens=tokens, packs=1))
    window.clock.enter("forward")
    window.clock.enter("backward")
    window.add_targets(20)
    window.clock.enter(None)
    window.end_step()


def test_a_phase_lasts_until_the_next() -> None:
    clock = PhaseClock(CPU)
    for phase in ("forward", "backward", None, "forward", None):
        clock.enter(phase)
    assert clock.read() == {"forward": 2.0, "backward": 1.0}
    assert clock.read() == {}


def test_figures_are_per_step_and_per_second() -> None:
    window = SpeedWindow(CPU, pack_size=100)
    take_step(window, records=3, tokens=90)
    take_step(window, records=1, tokens=60)
    # A step looks at the clock 9 times, so it lasts 8 s.
    assert window.read(alone) == {
        "speed/data_seconds": 2.0,
        "speed/forward_seconds": 1.0,
        "speed/backward_seconds": 1.0,
        "speed/step_seconds": 8.0,
        "speed/records_per_second": 4 / 16,
        "speed/targets_per_second": 40 / 16,
        "packing/fill": 150 / 200,
        "speed/peak_memory_gb": 1.5,
    }
    assert window.read(alone) == {"speed/peak_memory_gb": 1.5}


def test_ranks_add_their_records_and_share_their_time() -> None:
    window = SpeedWindow(CPU, pack_size=None)
    take_step(window, records=3, tokens=0)
    figures = window.read(lambda row: torch.cat([row, row]))
    assert figures["speed/records_per_second"] == 6 / 8
    assert figures["speed/step_seconds"] == 8.0
    assert "packing/fill" not in figures


def test_a_window_goes_on_from_its_state() -> None:
    whole, first, second = (SpeedWindow(CPU, pack_size=100) for _ in range(3))
    for window in (whole, first):
        take_step(window, records=3, tokens=90)
    second.load_state_dict(first.state_dict())
    for window in (whole, second):
        take_step(window, records=1, tokens=60)
    assert second.read(alone) == whole.read(alone)


def test_the_process_says_how_much_memory_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 0.05 < speed.peak_memory_gb(CPU) < 100
