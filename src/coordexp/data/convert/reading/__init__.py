"""What every format needs to be read, and what it hands on.

- `format`: what a format is; `shapes`: the pictures and shapes that it yields, in the file's own
  numbers and with its mistakes; `tally`: what became of everything.
- `documents`: JSON, XML, YAML and text that others wrote; `folders`: what lies in a folder.
- `class_numbers`: where a file's classes count from.
"""
