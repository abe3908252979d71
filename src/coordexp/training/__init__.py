"""The training run.

`run` is one run from a configuration to a checkpoint, `build` turns the configuration into objects,
`dataset` records into examples, `trainer` is the thin layer over transformers' Trainer,
`loss_function` what the model calls for its loss, `optimizer` the groups of parameters,
`diagnostics` the logged figures, `progress` the bar.
"""
