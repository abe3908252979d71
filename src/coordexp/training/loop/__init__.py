"""The loop: a thin layer over transformers' Trainer.

- `trainer`: the two Trainers with our loss, anybody's and our own, and what they are made of.
- `seams`: all that is overridden of transformers' Trainer, in one class.
- `optimizer`: groups of parameters, each with its own rate.
- `engines`: DDP, DeepSpeed and FSDP2.
"""
