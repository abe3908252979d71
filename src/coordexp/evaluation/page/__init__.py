"""The report of an evaluation: `page`, with `charts`, `cuts` at a score and a `gallery` of answers.

`templates/` holds its HTML.
"""
