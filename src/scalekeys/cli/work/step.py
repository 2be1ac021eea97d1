"""How work tells how far it is."""

from collections.abc import Callable

Step = Callable[..., Callable[[int], None]]
"""``step(text, total=None)`` begins the next step of a work and returns a function that advances it."""
