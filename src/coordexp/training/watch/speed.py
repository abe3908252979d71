"""How fast a run is, where its time goes and how much memory it takes.

| key | meaning |
|---|---|
| `speed/records_per_second`, `speed/targets_per_second` | over all ranks, in training alone |
| `speed/step_seconds` | one optimizer step, from asking for its records to its end |
| `speed/data_seconds` | of it, waiting for records |
| `speed/forward_seconds` | model and loss; the loss works out its own gradients here |
| `speed/backward_seconds` | the rest of the backward pass, the sum over the ranks included |
| `speed/peak_memory_gb` | the most so far: of the GPU, or of the process where there is none |
| `packing/fill` | share of the packs' room that is filled |

Times are means over the ranks. Evaluations and checkpoints are in none of them. On a GPU, events
are recorded and read when the log is, so that nothing waits. Everything under `speed/` differs from
run to run; the fill does not.
"""

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coordexp.training.step.feed import RECORDS

_SUMS = ("records", "targets", "tokens", "packs", "steps")
_SECONDS = ("data", "forward", "backward", "step")


class PhaseClock:
    """Seconds of the phases that a device goes through, one after the other.

    Args:
        device: Whose time counts.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._phase: tuple[str, float | torch.cuda.Event] | None = None
        self._seconds: dict[str, float] = {}
        self._spans: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def enter(self, phase: str | None) -> None:
        """End the phase that was, and begin another, or none."""
        now = self._now()
        if self._phase is not None:
            name, since = self._phase
            if isinstance(now, torch.cuda.Event) and isinstance(since, torch.cuda.Event):
                self._spans.append((name, since, now))
            elif isinstance(now, float) and isinstance(since, float):
                self._seconds[name] = self._seconds.get(name, 0.0) + now - since
        self._phase = None if phase is None else (phase, now)

    def read(self) -> dict[str, float]:
        """Return the seconds of each phase, and begin at zero."""
        seconds, self._seconds = self._seconds, {}
        spans, self._spans = self._spans, []
        for name, begin, end in spans:
            end.synchronize()
            seconds[name] = seconds.get(name, 0.0) + begin.elapsed_time(end) / 1000
        return seconds

    def _now(self) -> float | torch.cuda.Event:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@dataclass(frozen=True, slots=True)
class Load:
    """What a micro-batch holds.

    Args:
        records: How many.
        tokens: Of its packs; 0 where nothing is packed.
        packs: How many that hold any record.
    """

    records: int
    tokens: int
    packs: int


def load_of(batch: Mapping[str, Tensor]) -> Load:
    """Return what a micro-batch holds; a rank that has no record left has a blank one."""
    records = len(batch.get(RECORDS, ()))
    is_pack = "attention_mask" not in batch and records > 0
    return Load(
        records=records,
        tokens=batch["input_ids"].numel() if is_pack else 0,
        packs=1 if is_pack else 0,
    )


class SpeedWindow:
    """Work and time since they were last read.

    Args:
        device: That works.
        pack_size: Tokens that a pack has room for; None where nothing is packed.
    """

    def __init__(self, device: torch.device, *, pack_size: int | None) -> None:
        self._device = device
        self._pack_size = pack_size
        self._totals = dict.fromkeys((*_SUMS, *_SECONDS), 0.0)
        self._began: float | None = None
        self.clock = PhaseClock(device)

    def begin_step(self) -> None:
        """Start the clock of a step."""
        self._began = time.perf_counter()

    def end_step(self) -> None:
        """Stop it."""
        self._totals["steps"] += 1
        if self._began is not None:
            self._totals["step"] += time.perf_counter() - self._began
        self._began = None

    def waiting_for(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield what an iterator yields, and measure how long each takes to come."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self._totals["data"] += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def add_load(self, load: Load) -> None:
        """Take in what a micro-batch holds."""
        self._totals["records"] += load.records
        self._totals["tokens"] += load.tokens
        self._totals["packs"] += load.packs

    def add_targets(self, count: int) -> None:
        """Take in how many tokens of a micro-batch are supervised."""
        self._totals["targets"] += count

    def read(self, gather: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the figures of the window and start a new one.

        Args:
            gather: Returns a row for each rank.
        """
        values = [*self.state_dict().values(), peak_memory_gb(self._device)]
        self._totals = dict.fromkeys(self._totals, 0.0)
        local = torch.tensor(values, dtype=torch.float64, device=self._device)
        ranks = gather(local[None]).cpu()
        names = (*_SUMS, *_SECONDS)
        sums = dict(zip(names, ranks[:, :-1].sum(0).tolist(), strict=True))
        return self._figures(sums, len(ranks)) | {
            "speed/peak_memory_gb": round(float(ranks[:, -1].max()), 3)
        }

    def state_dict(self) -> dict[str, float]:
        """Return the sums, of this rank."""
        for name, seconds in self.clock.read().items():
            self._totals[name] += seconds
        return dict(self._totals)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from the sums of a checkpoint."""
        self._totals |= state

    def _figures(self, sums: Mapping[str, float], ranks: int) -> dict[str, float]:
        if not sums["steps"]:
            return {}
        figures = {f"speed/{name}_seconds": sums[name] / sums["steps"] for name in _SECONDS}
        if sums["step"]:
            for name in ("records", "targets"):
                figures[f"speed/{name}_per_second"] = sums[name] / (sums["step"] / ranks)
        if self._pack_size is not None and sums["packs"]:
            figures["packing/fill"] = sums["tokens"] / (sums["packs"] * self._pack_size)
        return figures


def peak_memory_gb(device: torch.device) -> float:
    """Return the most memory that was taken so far, in GB of a thousand million bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
