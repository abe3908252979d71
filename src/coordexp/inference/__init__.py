"""From a model and pictures to predictions.

The way of a run: `run` is the command, `ranks` its processes, `source` what it reads, `predict`
the loop, `parts` what is on disk while it goes on, `coco_results` another format. `single` is one
picture.

The way of an answer: `predictor` loads a model, `ask` chooses how to ask it, `answer` is what it
says, `parse` reads it (`scan` goes over the text), `beliefs` and `scores` say how sure it was,
`class_filter` is what was asked for, and the number of each class, `repeats` drops what is said
twice, `rows` is the line that is written.

Asking freely is `generate`; through vLLM, `vllm_backend`. Inside the grammar it is `decode`:
`grammar` builds `trie`s of token ids, with `json_bytes` for free text; `walk` is a place in it,
`row` an answer in the making, `choose` asks the head, row by row (`head_rows`), and
`ragged_cache` lets every row grow at its own pace.
"""
