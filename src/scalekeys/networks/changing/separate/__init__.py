"""Depthwise layers computed axis by axis, where that is faster."""
