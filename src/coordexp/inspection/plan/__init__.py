"""What a run costs, before the weights of its base are there.

- `costs`: memory, disk, packs that fit and time: the one home of these estimates; `table` shows
  them, `settings` are the configuration that is planned for.
- `hollow_model`: the run's own model as shapes; `hollow_math` lets it run on them, `hollow_states`
  counts layers with states once.
- `one_pass`: bytes and operations of a forward and a backward pass; `live_bytes` counts the bytes,
  `loss_room` is what the loss takes.
"""
