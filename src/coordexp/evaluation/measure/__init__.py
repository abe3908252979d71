"""Every figure of a predictions file.

- `predictions`: one line as checked values, `scored_objects`: its objects; `fields` checks each of
  them. `merging`: several lines about one question. `coco_files`: COCO's own two files as
  predictions.
- `collector`: no collection of garbage while there is none.
- `categories`: descs become category ids; what matches no class is counted.
- `instances`: truth and predictions of a whole file as columns, and what was left out.
- `overlap`: which boxes of an image overlap, tile by tile; `nearest`: how near the nearest comes.
- `matching`: which prediction finds what, at COCO's ten IoU thresholds (`greedy`), and F1.
- `average_precision`: average precision and recall through faster-coco-eval, which reads a
  `coco_dataset`; `coco_tiles` where its table would not fit.
- `points`: which predicted points are near a true one, or hit what is true; `point_figures`.
- `scores`: whether the scores can rank anything.
- `ranking`, `bootstrap`: average precision from cached matches, its intervals, two files compared.
- `calibration`: whether scores are probabilities, and a map that makes them so.
- `score_cuts`: precision, recall and F1 from a score on, and the score at which F1 is best.
- `breakdown`: recall by size and number of objects, referring expressions, repetition.
- `mistakes`: what kind of mistake each wrong prediction is, and what was taken for what.
- `tables`, `figures`: one row a class, one an image, and the contents of `metrics.json`.
- `reasons`: why a figure is what it is.
"""
