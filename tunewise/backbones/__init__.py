"""Pretrained models in local folders.

`opening` makes a `Backbone` of a study's line, `loading` its tokenizer and its weights, `pooling` one
vector of its hidden states, `inspection` says what a folder holds. Nothing is re-exported here, so that
the code hash of a method follows what it uses and no more.
"""
