"""What a model's answer is, and what it says; without torch, wherever it came from.

- `answer`: the text with how probable each token was; `belief` is what it believed about a
  coordinate.
- `parse`: objects with their places in the text, and what could not be read; `scan` goes over it,
  and `quick_read` knows at sight what is written to the letter.
- `stock`: the same of a model that was not trained here, in its family's own format.
- `box_scores`: how sure the answer was of each object.
- `grammar_text`: how an answer is written, for engines that keep to a grammar in text.
- `repeats`: what it says twice; `class_filter`: what was not asked for.
- `prediction_lines`: the objects with their scores, and the line that is written.
"""
