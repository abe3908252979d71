"""Pictures in, detections out, through a server that speaks OpenAI's chat completions.

It needs neither torch nor transformers: of the model only the small files `coordexp.json`,
`config.json` and `preprocessor_config.json`.

- `detect`: the client. `asked_model`: how its model is asked.
- `picture`: what is sent of a picture; `request`: what is asked; `reply`: the answer in what came.
- `transport`: there and back, with patience that has an end.
"""
