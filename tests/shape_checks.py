"""What the tests check at run time: annotations of shapes, and no others.

A wrong shape or dtype inside the package fails a test at the call where it appears. Other annotations are left to the
static type checker, so that tests can hand over what the package itself has to refuse. What has no shape in its
annotations is left as it is, because jaxtyping's own wrappers of every function cost more than most of the functions.
A call whose tensors have the shapes and dtypes of an earlier call of the same function is not checked again.
"""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_args

import jaxtyping
import numpy as np
import torch
from beartype.door import die_if_unbearable
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
    shapes = {name: hint for name, hint in function.__annotations__.items() if _holds_a_shape(hint)}
    if not shapes:
        return function
    names = tuple(inspect.signature(function).parameters)
    passed: set[Hashable] = set()

    def check(values: dict[str, Any]) -> None:
        """Check values by name together: an axis of one name has one length in all of them."""
        facts = tuple((name, _facts(value)) for name, value in values.items())
        if facts in passed:
            return
        with jaxtyped("context"):
            for name, value in values.items():
                die_if_unbearable(value, shapes[name])
        if _UNKNOWN not in (fact for _, fact in facts):
            passed.add(facts)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable or torch.compiler.is_dynamo_compiling():
            return function(*arguments, **options)
        given = {**dict(zip(names, arguments, strict=False)), **options}
        values = {name: value for name, value in given.items() if name in shapes}
        check(values)
        result = function(*arguments, **options)
        if "return" in shapes:
            check({**values, "return": result})
        return result

    return call


def _facts(value: Any) -> Hashable:
    """Return all that a check of a value looks at: its kind, and dtypes and shapes, or that this is not known."""
    kind = type(value)
    if kind in _ARRAYS:
        return kind, value.dtype, value.shape
    if kind is tuple:
        parts = tuple(map(_facts, value))
        return _UNKNOWN if _UNKNOWN in parts else parts
    return kind if kind in _PLAIN else _UNKNOWN


_UNKNOWN = "unknown"
_ARRAYS = (torch.Tensor, torch.nn.Parameter, np.ndarray)
_PLAIN = (type(None), bool, int, float, str)


def _holds_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_holds_a_shape(part) for part in get_args(hint))
