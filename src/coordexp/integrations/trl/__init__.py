"""Reinforcement on geometry by TRL's `GRPOTrainer`: our model, answers and reward.

- `trainer`: the trainer, and `build_trainer` of one YAML and one `GRPOConfig`; the one module that
  imports `trl` when it is imported.
- `rows`: records as the dataset that it reads, and back.
- `reward`: what an answer is worth, in the shape that TRL calls.
- `sampling`: answers by chance, by our decoder.
- `refusals`: what does not go together, and which TRL.
"""
