"""Looks at data, configuration and model together, before GPU time is spent.

- `source`: whose tokenizer and prompt: a configuration's, or a model's.
- `stats`: what a file of records holds, in tokens and in objects.
- `stats_page`: the same with plots.
- `gallery`: its pictures with what is drawn on them and what the model is taught to say.
- `doctor`: everything that could be wrong with a run; its checks are in the modules `doctor_*`:
  `place` versions and disk, `vocabulary` the base, `records` and `boxes` the data, `tokens` what is
  taught, `learning` and `step` who learns, `memory` how much it takes. `finding` is what they say,
  `page` how it is shown.
"""
