"""Depthwise layers computed axis by axis."""
