"""From an adapter checkpoint to a plain Hugging Face model that proves itself.

Writing, one tensor at a time:

- `merge`: the command, from directory to directory
- `base_layout`, `saved_adapter`: what base and adapter hold, their bytes unread
- `bake`: which tensors are copied, and how the others are made
- `lora_layer`: one layer, merged by PEFT

Certifying, one model at a time:

- `probe`: what both models are asked
- `in_memory`: what the adapter says, and a second road to the merged weights
- `plain_reload`: what the merged model says where CoordExp cannot be imported
- `untouched`, `logit_distance`: the comparisons
- `certify`: all of it, held against limits
- `certificate`, `model_card`: the papers
"""
