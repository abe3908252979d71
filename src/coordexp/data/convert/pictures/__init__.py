"""The pictures of a dataset: where they are, and how records name them.

`lookup` is the one way from a written path to a file; `finding` finds images by it, `embedded` has
those that are in no file, `places` says how records name them.
"""
