"""From records to token ids.

`style` is everything that must be the same in training and inference, `dense_json` the assistant
text and its inverse, `conversation` the chat template around it,
`encode` one record as one example, `collate` examples as one padded batch, `packing` as one row.
"""
