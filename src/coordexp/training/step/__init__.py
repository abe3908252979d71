"""What goes into a step, and what it minimises.

- `dataset`: records as examples, and the check of all of them before a run starts.
- `feed`: which of them become a batch, by the plan; `share`: which batches are this rank's.
- `loss_function`: what the model calls for its loss.
"""
