"""Looks at data, configuration and model together, before GPU time is spent.

- `survey`: what a file of records holds, counted and drawn.
- `doctor`: everything that could be wrong with a run.
- `plan`: what a run costs; of its base it needs the description alone.
"""
