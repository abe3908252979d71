"""Which weights fit; the files themselves are in test_whole_model.py and test_resume_states.py."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from coordexp.training.keep.weights import TheirFiles, Weights, mismatched


def test_a_weight_that_is_tied_to_one_that_is_there_is_not_lost() -> None:
    table = torch.zeros(3)
    state = {"embed": table, "head": table, "layer": torch.zeros(3)}
    assert mismatched(state, ["head"], []) == []
    assert mismatched(state, ["head", "embed"], []) == ["embed", "head"]
    assert mismatched(state, ["layer"], ["stray"]) == ["layer", "stray"]


def test_somebody_elses_trainer_keeps_its_ways_and_gets_the_extras(tmp_path: Path) -> None:
    told: list[object] = []
    files = TheirFiles(told.append)
    model, found = nn.Linear(1, 1), _IncompatibleKeys(["a"], [])

    def write(directory: str, weights: Weights) -> None:
        told.append((directory, weights))

    files.write(model, tmp_path, None, write)
    files.read(model, tmp_path)
    files.check(model, found, told.append)
    assert told == [(str(tmp_path), None), tmp_path, found]
    TheirFiles().write(model, tmp_path, None, lambda *_: None)
