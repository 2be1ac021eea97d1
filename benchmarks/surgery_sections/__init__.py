"""Sections of ``benchmarks/surgery.py``: each measures one thing, prints tables and returns them for the file."""
