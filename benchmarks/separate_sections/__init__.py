"""Sections of ``separate.py``."""
