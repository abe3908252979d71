"""From predictions to figures.

- `predictions`: one line of `predictions.jsonl` as checked values; `fields` checks each of them.
- `collector`: no collection of garbage while there is none.
- `categories`: descs become category ids; what matches no class is counted.
- `instances`: truth and predictions of a whole file as columns, and what was left out.
- `overlap`: which boxes of an image overlap, for all images at once.
- `matching`: which prediction finds what, at COCO's ten IoU thresholds; F1 comes from it.
- `coco`: average precision and recall through faster-coco-eval.
- `scores`: whether the scores can rank anything.
- `ranking`, `bootstrap`: average precision from cached matches, its intervals, two files compared.
- `calibration`: whether scores are probabilities, and a map that makes them so.
- `breakdown`: recall by size and number of objects, referring expressions, repetition.
- `mistakes`: what kind of mistake each wrong prediction is, and what was taken for what.
- `tables`, `figures`: one row a class, one an image, and the contents of `metrics.json`.
- `page`, `page_charts`, `page_gallery`: the report that shows them.
- `run`: `evaluate_predictions`, from file to folder.
"""
