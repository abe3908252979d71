"""Looks at data, configuration and model together, before GPU time is spent.

- `source`: whose tokenizer and prompt: a configuration's, or a model's.
- `stats`: what a file of records holds, in tokens and in objects.
- `stats_page`: the same with plots.
- `gallery`: its pictures with what is drawn on them and what the model is taught to say.
"""
