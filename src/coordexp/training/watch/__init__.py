"""What is said of a run while it goes on.

- `diagnostics`: the logged terms of the loss.
- `group_figures`, `speed`: what each group of the optimizer does, how fast it all is.
- `monitor`: steps that go wrong; `measured` is the Trainer that says all of it.
- `progress`: the bar and the log.
- `detection`: boxes of a saved checkpoint, scored.
"""
