"""`coordexp data prepare`: from pixel records to coord tokens, and pictures of the right size.

- `prepare`: the whole file; `one_shard`: what is done with a shard, in whatever process.
- `counts`: what a file became.
- `resizing`: writing a picture at the size that the model looks at.
- `selection`: which records are kept.
- `unknown_keys`: keys that the contract does not know.
"""
