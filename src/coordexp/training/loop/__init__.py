"""The loop: a thin layer over transformers' Trainer.

- `planned`: the Trainer that reads the plan, on every rank.
- `trainer`: the one that knows our loss, groups and checkpoints.
- `optimizer`: groups of parameters, each with its own rate.
- `engines`: DDP, DeepSpeed and FSDP2.
"""
