"""Sections of ``offers.py``."""
