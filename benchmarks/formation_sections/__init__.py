"""The sections of ``formation.py``."""
