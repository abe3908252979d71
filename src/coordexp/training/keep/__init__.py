"""What is on disk.

- `checkpoint`: there whole or not at all; `saving` writes it, on every rank.
- `weights`: what of a model is written into it, and read from it again.
- `resume`: what a checkpoint must carry so that a resumed run ends in the same bits.
- `output`: what a run finds in its directory, and where it starts.
"""
