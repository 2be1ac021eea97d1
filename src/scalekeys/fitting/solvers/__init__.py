"""Minimisation of many small problems at once; nothing here knows a family."""
