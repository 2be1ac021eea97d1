"""Families evaluated on windows: folded outer products, whole templates, and grids of them."""
