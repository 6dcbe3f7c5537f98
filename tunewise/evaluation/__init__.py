"""Metrics, intervals, costs, and the store of outcomes."""
