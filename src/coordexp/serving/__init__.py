"""A model behind an address: `coordexp serve` and `coordexp demo`.

- `vllm_server`: vLLM's own server with the flags that a model needs.
- `own_server`: a small one on transformers: `app` its routes, `chat_body` what is asked,
  `completion` what is said, `desk` a bounded queue between them.
- `address`: where either listens.
- `demo`: a page to try a model; `shown` what it shows of the objects found.
"""
