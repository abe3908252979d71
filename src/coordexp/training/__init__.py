"""The training run.

`run` is one run from a configuration to a checkpoint, `build` turns the configuration into objects,
`base_card` is what its checkpoints say of the base, `class_list` what they say of the classes,
`dataset` records into examples, `build_feed` plans which of them go together (`feed`), `planned`
reads the plan on every rank, `trainer` is the thin layer over transformers' Trainer,
`loss_function` what the model calls for its loss, `optimizer` the groups of parameters,
`diagnostics` the logged figures, `progress` the bar. A run that was stopped goes on: `output` says
where it starts, `resume` what must be restored, `checkpoint` writes so that nothing is half there.
"""
