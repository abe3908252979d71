"""Ways to compute the loss, the same to the last digits that rounding leaves.

- `reference`: readable, on materialised logits; the oracle of the others.
- `without_logits`: hands out gradients that a solver has computed with the loss. `problem` is what
  a solver is given, `blocks` the one in plain torch, with `vocabulary_walk` for the softmax over
  text and `coord_rows` for the bins; `triton` the one for GPUs.
"""
