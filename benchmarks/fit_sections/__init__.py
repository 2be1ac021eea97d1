"""Sections of ``benchmarks/fit.py``: each measures one thing, prints it as a table and returns it for the JSON file."""
