"""The training run.

- `run`: one run, from a configuration to a checkpoint.
- `loop`: the Trainer, its optimizer and its engines.
- `watch`: what is said of a run while it goes on.
- `step`: what goes into a step, and what it minimises.
- `keep`: what is on disk, so that a run that was stopped goes on.

Each knows only those below it.
"""
