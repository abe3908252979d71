"""From a merged model to predictions.

`predict` goes over a dataset, `generate` asks the model for its answer, `parse` reads the answer,
whatever it is (`scan` goes over the text), and `scores` says how sure the model was of each object.
"""
