"""Records in files.

- `jsonl`: reading at random and flat memory, and writing; errors name file and line.
- `written_alphabet`: the alphabet that records were prepared in, kept beside them.
- `category_ids`: an annotation file's own numbers of its classes, kept beside the records.
- `sharding`: a long file cut into shards, each worked on alone, in parallel and restartable.
- `mix`: several files as one sequence, and how much each counts; `kinds`: their geometries.
- `image`: opening a record's picture, with every way it can be wrong said in words.
"""
