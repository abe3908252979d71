"""What a file holds: records, predictions, the log of a run.

- `encoding`: whose tokenizer, prompt and format: a configuration's, or a model's.
- `stats`: tokens as training will count them, objects, sizes, words; `stats_tables` and
  `stats_page` show them.
- `class_mix`: which classes the questions of a run name.
- `gallery`: the pictures with what is drawn on them and what the model is taught to say.
- `drawn_predictions`: pictures with what a model said of them, where nothing need be true.
- `train_report`: a training run as a page, from its log; `training_curves` draws one or several.
- `run_audit`: what one run refuses beyond the contract.

`templates/` holds the HTML of the pages.
"""
