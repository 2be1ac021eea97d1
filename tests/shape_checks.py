"""What the tests check at run time: annotations of shapes, and no others.

A wrong shape or dtype inside the package fails a test at the call where it appears. Other annotations are left to the
static type checker, so that tests can hand over what the package itself has to refuse. What has no shape in its
annotations is left as it is, because jaxtyping's own wrappers of every function cost more than most of the functions.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import jaxtyped

T = TypeVar("T", bound=Callable[..., Any])


def install(package: str) -> Any:
    """Check the shapes in all of a package that is imported from now on."""
    jaxtyping.jaxtyped = lambda *, typechecker: typechecker  # the hook decorates with this
    return jaxtyping.install_import_hook(package, f"{__name__}.check_shapes")


def check_shapes(decorated: T) -> T:
    """Decorate a function, or what makes a dataclass, so that shapes of its arguments and its result are checked."""
    if isinstance(decorated, type):
        if is_dataclass(decorated) and "__init__" in vars(decorated):
            decorated.__init__ = _checked(decorated.__init__)
        return decorated
    return _checked(decorated)


def _checked(function: T) -> T:
    hints = function.__annotations__
    shapes = {name: hint for name, hint in hints.items() if _holds_a_shape(hint)}
    if not shapes:
        return function
    function.__annotations__ = shapes
    checking = beartype(function)
    function.__annotations__ = hints

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*arguments, **options)
        with jaxtyped("context"):
            return checking(*arguments, **options)

    return call


def _holds_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_holds_a_shape(part) for part in get_args(hint))
