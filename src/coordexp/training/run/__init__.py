"""From a configuration to a checkpoint.

- `stage1`: the run itself; `ending` says what came of it.
- `machine`, `host`: what this machine can compute, whether ms-swift is there; `setup_errors`: what
  other libraries raise on a bad setup, in the user's words.
- `build`, `run_encoder`, `build_feed`: the configuration as objects, the records as a plan;
  `arguments`: what transformers is told; `course`: how long it will be; `experts_note`: what of a
  mixture learns.
- `base_card`, `class_list`: what a checkpoint says of its base and of its classes, which questions
  may draw from.
"""
