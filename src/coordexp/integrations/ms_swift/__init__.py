"""A run of `swift sft` with our objective, adapter and optimizer groups.

- `install`: connects them.
- `plugin`: what ms-swift loads by path (`place`); it registers `parts`, the one module that imports
  `swift` when it is imported.
- `host`: `host: ms_swift` of `coordexp train`.
- `settings`: their arguments and our configuration, translated.
- `refusals`: what does not go together.
- `template`, `messages`: the text is the same. `tuner`: makes and restores adapters. `trainer`:
  computes the loss.
"""
