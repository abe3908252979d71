"""From a model and pictures to predictions.

- `decode`: from a model to an answer, freely or inside the grammar.
- `run`: from files to files; the processes, the restart, other engines.

What an answer says is read in `coordexp.answers`, which does not know how it came about.
"""
