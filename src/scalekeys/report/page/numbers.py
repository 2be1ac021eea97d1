"""Numbers of summaries: scales by axis, and what JSON can hold."""

import math
from typing import Any, TypeAlias

Scales: TypeAlias = dict[str, float | None]
"""A number for each axis, by its name: ``x``, ``y``, ``z``; None where there is none."""


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
