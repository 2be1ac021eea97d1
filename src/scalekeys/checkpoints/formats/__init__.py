"""File formats: one file or folder each, and one row of the table in ``registry``."""
