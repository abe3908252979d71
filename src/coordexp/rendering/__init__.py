"""From records to token ids.

- `style`: everything that must be the same in training and inference.
- `dense_json`: the assistant text and its inverse; `conversation`: the chat template around it.
- `encode`: one record as one example; `token_types`: which of its tokens name things.
- `listed_questions`: questions that name classes.
- `reserved_tokens`: what no text of a sample may hold; `cells`: which sizes no picture may have.
- `collate`: examples as one padded batch; `packing`: as one row.
"""
