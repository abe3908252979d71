"""The data contract: records as JSONL, one image and its objects a line.

`record` is the contract as types, `geometry` its boxes, polygons and lines, `marks` how an object
counts, `federated` what a picture was searched for, `jsonl` the files,
`ordering` the order in which objects are written, `image` the pictures, `prepare` the way from
pixels to tokens, `packing` which examples share a row, `schedule` which records every step sees on
every rank. Nothing here imports torch.
"""
