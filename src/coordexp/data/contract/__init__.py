"""The record contract: what one line of JSONL may say.

- `record`: one image, its size, its objects; `parse_record` raises the first fault.
- `geometry`: boxes, polygons and lines; `crossing` says whether an outline crosses itself;
  `box_iou` how much boxes overlap.
- `marks`: crowds, ignored objects, areas; `federated`: classes that nobody looked for.
- `sizes`, `text`: sizes of pictures; paths and whole Unicode. `special_tokens`: what no text may
  hold.
- `chat`: the other kind of line, an ordinary conversation.
- `json_line`: one line of strict JSON.
"""
