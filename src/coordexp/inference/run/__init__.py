"""`coordexp predict`, and `coordexp.predict` for one picture.

- `command`: load, ask, write; `options`: how; `ranks` its processes, `inputs` what it reads.
- `predict`: the loop, `rank_work` a process's share of it; `parts`: what is on disk meanwhile,
  `kept_lines` where in it.
- `predictor`: a model with all that it takes to ask it; `ask`: inside the grammar or freely.
- `stock_model`: what it takes where nothing was trained here.
- `vllm_backend`: the same questions through vLLM; `vllm_engine`: what its engine is told.
- `http_backend`: the same questions through a server.
- `single`: one picture, one call.
- `coco_results`: predictions as COCO results.
"""
