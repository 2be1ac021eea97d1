"""What the tests check at run time: annotations of shapes, and no others.

A wrong shape or dtype inside the package fails a test at the call where it appears. Other annotations are left to the
static type checker, so that tests can hand over what the package itself has to refuse.
"""

from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import beartype


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function so that its arguments and its result are checked against their shapes."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if _holds_a_shape(hint)}
    return beartype(function)


def _holds_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_holds_a_shape(part) for part in get_args(hint))
