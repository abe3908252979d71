"""`coordexp data split`: one file of records becomes several that share no picture.

- `split`: the whole of it, and what is said of it; `parts`: which parts, and how large.
- `together`: which lines may not be parted: those of one picture, of one group, of pictures that
  look alike.
- `lookalikes`: which pictures look alike.
- `stratify`: which part each group goes to, so that every class is in every part by its share.
"""
