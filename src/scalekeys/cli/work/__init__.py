"""What the verbs do: read, call, write; one module a verb. It prints nothing and holds no science."""

from collections.abc import Callable

Step = Callable[..., Callable[[int], None]]
"""``step(text, total=None)`` begins the next step of a work and returns a function that advances it."""
