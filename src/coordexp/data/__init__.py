"""Records and the files that hold them; nothing here imports torch.

- `contract`: one record, as types and rules.
- `files`: records in JSONL files, and their pictures.
- `audit`: everything that is wrong, or looks wrong, with files of records.
- `prepare`: from pixels to the form that training reads.
- `convert`: from other people's datasets to records.
- `plan`: which records every step of a run sees, in which order, in which packs.

`contract` knows none of the others and `files` only that; the four that work on files do not know
one another.
"""
