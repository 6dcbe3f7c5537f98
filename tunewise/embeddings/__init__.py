"""Frozen features: the packed forward pass and the row cache."""
