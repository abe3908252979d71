"""What is said of a run while it goes on.

- `diagnostics`: the logged terms of the loss.
- `group_figures`, `speed`: what each group of the optimizer does, how fast it all is.
- `judge`: looks at each step before it moves a weight; `monitor`: what is wrong with one.
- `steps`: all that is looked at in a step, in anybody's Trainer and in our own.
- `progress`: the bar and the log.
- `detection`: boxes of a saved checkpoint, scored; `early_stop`: when they have not become better
  for long.
"""
