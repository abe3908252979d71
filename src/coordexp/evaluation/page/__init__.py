"""The report of an evaluation: `page`, with `charts`, `cuts` at a score, `points` and a `gallery`.

`templates/` holds its HTML.
"""
