"""Training a few added parameters beside frozen weights."""
