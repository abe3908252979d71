"""Coordinates as single vocabulary tokens.

`codec` turns pixels into bins and bins into tokens, `many` does so with very many at once; `vocab`
finds the tokens' ids in a tokenizer. `specification` has the codec's public names, in the
specification's alphabet unless told. All are plain Python. `codec.CoordAlphabet` is the only home
of the number of bins and of the token's spelling.
"""
