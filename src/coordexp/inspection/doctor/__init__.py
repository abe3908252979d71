"""Everything that could be wrong with a run, looked at before it costs anything.

- `doctor`: all checks, one after the other; `verdict` is what each says, `page` how it is shown,
  with its HTML in `templates/`.
- `place`: versions, device and disk. `vocabulary`: the base.
- `records`, `boxes`, `prompt`: the data. `tokens`: what is taught. `course`: for how long.
- `first_pass`: the run's first batch through its trainer. `learning`, `step`: who learns. `memory`:
  how much it takes.
"""
