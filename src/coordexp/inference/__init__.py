"""From a model and pictures to predictions.

- `decode`: from a model to an answer, freely or inside the grammar.
- `read`: from an answer to objects with scores.
- `run`: from files to files; the processes, the restart, other engines.

`read` knows what an answer is and not how it came about; only `run` knows both.
"""
