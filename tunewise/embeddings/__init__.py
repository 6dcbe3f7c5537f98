"""Frozen features: the packed forward pass and the row cache.

`embedder` is what callers use: texts in, features out, each computed once. `engine` runs the model on batches
of tokens, by `packed` where the model's shape allows it and by `generic` elsewhere; `cache` keeps rows.
Nothing is re-exported here, so that the hash of the code that makes features follows `engine` and no more.
"""
