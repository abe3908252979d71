"""From an adapter checkpoint to a plain Hugging Face model that proves itself.

Writing, one tensor at a time:

- `merge`: the command, from directory to directory
- `base_layout`, `saved_adapter`: what base and adapter hold, their bytes unread
- `bake`: which tensors are copied, and how the others are made
- `lora_layer`: one layer, or the experts of one, merged by PEFT
- `expert_layout`: the files of a model that was trained as a whole, as its base's are

Reading back what was written, by other code than that which wrote it:

- `expected`: what must be there, said anew from base and adapter
- `tensor_reader`, `exact_lora`: bytes and arithmetic
- `read_back`: every number of the weights
- `small_files`: everything beside them

Certifying, one model at a time:

- `probe`: what both models are asked
- `in_memory`: what the adapter says, and a second road to the merged weights
- `plain_reload`: what the merged model says where CoordExp cannot be imported
- `logit_distance`, `answer_agreement`: the comparison, held against limits
- `certify`: all of it
- `certificate`, `model_card`: the papers
"""
