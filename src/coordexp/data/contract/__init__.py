"""The record contract: what one line of JSONL may say.

- `record`: one image, its size, its objects; `parse_record` raises the first fault.
- `record_faults`: every fault of a record, lazily; the table of its keys.
- `faults`: a fault as a value; `rules`: every violation by name, with what to do about it.
- `objects`: one thing in the picture; `quick_look` knows good ones at sight.
- `geometry_kinds`: what tells a box, a polygon, a line and a point apart, in one table; `geometry`
  checks them; `crossing` says whether an outline crosses itself, `box_iou` how much boxes overlap.
- `marks`: crowds, ignored objects, areas; `federated`: classes that nobody looked for.
- `sizes`, `text`: sizes of pictures; paths and whole Unicode. `special_tokens`: what no text may
  hold.
- `chat`: the other kind of line, an ordinary conversation.
- `json_line`: one line of strict JSON, read and written.
"""
