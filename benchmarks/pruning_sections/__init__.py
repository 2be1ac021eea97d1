"""Sections of ``pruning.py``."""
