"""Damaged and hostile input by the million: ``python -m fuzz`` (``make fuzz MINUTES=n``).

A *target* is a format: sound samples of it, mutations that know its structure, and what a user does with a file of it.
A *case* is a target and a number, from which everything else follows, so that each can be run again. A case is read, or
refused in one sentence; everything else is a finding.
"""
