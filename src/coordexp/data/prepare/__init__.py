"""`coordexp data prepare`: from pixel records to coord tokens, and pictures of the right size.

- `prepare`: the whole file; `one_shard`: what is done with a shard, in whatever process;
  `pixel_text`: exact pixels as they are written.
- `options`: how it is done, as one value.
- `counts`: what a file became.
- `resizing`: writing a picture at the size that the model looks at.
- `selection`: which records are kept.
"""
