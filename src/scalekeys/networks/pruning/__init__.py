"""Smaller networks of the same outputs: channels that dead filters leave constant are removed."""
