"""Records and the files that hold them; nothing here imports torch.

- `contract`: one record, as types and rules.
- `files`: records in JSONL files, and their pictures.
- `audit`: everything that is wrong, or looks wrong, with files of records.
- `prepare`: from pixels to the form that training reads.
- `split`: one file into several that share no picture.
- `convert`: from other people's datasets to records.
- `export`: from records and predictions to the formats of other tools.
- `augment`: another view of a record in each epoch of a run.
- `plan`: which records every step of a run sees, in which order, in which packs.

`contract` knows none of the others and `files` only that; those that work on files do not know
one another. `augment` cuts outlines as `convert` does.
"""
