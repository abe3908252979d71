"""`coordexp data check`: everything that is wrong, or looks wrong, found in one pass.

- `audit`: the pass over all files.
- `fast_path`: knows good objects at sight, so that the rules look at few.
- `rules`: every violation of one record, not the first alone.
- `suspicion`: what the contract allows and experience does not.
- `repeats`: what stands in several places: records, pictures, splits, spellings.
- `pictures`: there, readable, of the right size.
- `findings`: what was found, and the report.
"""
