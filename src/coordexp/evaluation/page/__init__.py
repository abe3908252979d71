"""The report of an evaluation: `page`, with its `charts` and the `gallery` of answers.

`templates/` holds its HTML.
"""
