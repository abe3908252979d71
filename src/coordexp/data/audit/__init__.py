"""`coordexp data check`: everything that is wrong, or looks wrong, found in one pass.

- `audit`: the pass over all files.
- `suspicion`: what the contract allows and experience does not.
- `repeats`: what stands in several places: records, pictures, splits, spellings.
- `pictures`: there, readable, of the right size.
- `findings`: what was found, and the report.
"""
