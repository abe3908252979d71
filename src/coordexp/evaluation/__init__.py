"""From predictions to figures.

- `measure`: every figure, from checked lines to tables.
- `page`: the report that shows them.
- `evaluate`: `evaluate_predictions`, from file to folder.
"""
