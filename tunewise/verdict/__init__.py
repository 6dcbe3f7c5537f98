"""Outcomes in; table, page and recommendation out."""
