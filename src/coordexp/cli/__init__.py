"""The command line: `app` assembles it, and nearly every other module holds one command.

- `data_convert`, `data_split`, `data_prepare`, `data_check`, `data_stats`, `data_view`,
  `data_export`: before a run; `data_rollouts`: between two.
- `vocab`, `plan`, `doctor`, `train`, `report`, `merge`, `predict`, `evaluate`: a run and what comes
  of it.
- `serve`, `demo`: a model behind an address.
- `quickstart`, `lab`: all of it at once, and many times. `swift`: the plugin of ms-swift.
- `options`, `sheets`: what several of them share.

A command's module imports what it runs only when it is called.
"""
