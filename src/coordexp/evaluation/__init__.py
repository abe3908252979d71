"""From predictions to figures.

- `predictions`: one line of `predictions.jsonl` as checked values.
- `categories`: descs become category ids; what matches no class is counted.
- `instances`: truth and predictions of a whole file in one form, and what was left out.
- `coco`: average precision and recall through faster-coco-eval.
- `matching`: F1 at fixed IoU and mean best IoU, which need no scores.
- `scores`: whether the scores can rank anything.
- `figures`: all of them together, as the contents of `metrics.json`.
- `page`: the report that shows them.
- `run`: `evaluate_predictions`, from file to folder.
"""
