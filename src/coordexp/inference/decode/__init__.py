"""How a model answers, with how probable each token was.

- `pieces`: the text of each token; `beliefs`: what the model believed about each coordinate.
- `free`: greedily, token by token.
- `constrained`: inside the grammar, in as few passes as it takes; `pick` says whether the
  likeliest is said or one by chance. `grammar` builds `trie`s of token ids, with `json_bytes` for
  free text; `walk` is a place in it, `growing_answer` an answer in the making, whose boxes
  `shape_guesses` reads ahead and which `repeat_stop` ends where it says nothing new, `choose` asks
  the head for no more rows than there are options (`head_rows`), and `ragged_cache` lets every row
  of a batch grow at its own pace; `recurrent_states` do it where layers have states.
"""
