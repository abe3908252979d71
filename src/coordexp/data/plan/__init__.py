"""The plan of an epoch: a pure function of seed and epoch, the same on every rank.

- `schedule`: which records every step sees, on every rank.
- `best_fit`: which examples share a pack.
- `class_lists`: which classes a question names.
- `ordering`: the order in which a record's objects are written.
"""
