"""Numbers of summaries: scales by axis, kernel sizes as text, and what JSON can hold."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

Scales: TypeAlias = dict[str, float | None]
"""A number for each axis, by its name: ``x``, ``y``, ``z``; None where there is none."""


def size_text(size: Sequence[int]) -> str:
    """Write the sides of a kernel.

    Examples
    --------
    >>> size_text((7, 7)), size_text((31,)), size_text((5, 3, 3))
    ('7x7', '31', '5x3x3')
    """
    return "x".join(map(str, size))


def without_infinities(value: Any) -> Any:
    """Replace infinite numbers by the word ``inf``, in whatever lists and dicts hold them.

    Examples
    --------
    >>> without_infinities({"sigma": [float("inf"), 1.0, None]})
    {'sigma': ['inf', 1.0, None]}
    """
    if isinstance(value, dict):
        return {name: without_infinities(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(part) for part in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
