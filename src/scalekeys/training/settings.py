"""Typed settings: nested mappings of plain values, as YAML gives them, into frozen dataclasses, and back."""

import difflib
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from scalekeys.errors import RecipeError, shortened

T = TypeVar("T")

_PLAIN = (type(None), bool, int, float, str)
_PARTS, _BITS = 20, 10_000  # of values that a message quotes
_SHOWN = 100  # characters of a value or name that a message quotes


def settings_of(kind: type[T], values: Any, where: str = "") -> T:
    """Make a dataclass of a mapping; every value is checked against its type, and every name must be known.

    `kind`: its fields are numbers, strings, literals, tuples of these, optional ones, or such dataclasses.
    `where`: what errors put before the names.
    Raises RecipeError if a name is unknown or missing, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where or 'the recipe'}: expected names with values, got {shown(values)}")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise RecipeError(
                _unknown(
                    _joined(where, name if isinstance(name, str) else shown(name)),
                    [_joined(where, other) for other in known],
                )
            )
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise RecipeError(f"{_joined(where, name)} is missing; give it a value")
    return kind(**{name: _value(hints[name], value, _joined(where, name)) for name, value in values.items()})


def plain(settings: Any) -> Any:
    """Return settings as nested dicts and lists of plain values, as YAML and JSON write them."""
    if is_dataclass(settings):
        return {field.name: plain(getattr(settings, field.name)) for field in fields(settings)}
    return list(settings) if isinstance(settings, tuple) else settings


def with_override(values: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return nested mappings in which the value of a dotted name is another.

    >>> with_override({"data": {"size": 32}}, "data.size", 64)
    {'data': {'size': 64}}
    """
    first, _, rest = name.partition(".")
    inner = values.get(first)
    return {**values, first: with_override(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value}


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    result = dict(under)
    for name, value in over.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def shown(value: Any) -> str:
    """Return a value of any origin as a message quotes it; what is no plain value is told by its type.

    >>> shown("a" * 200)[:20], shown([1, None]), shown(object()), shown(10**5000)
    ("'aaaaaaaaaaaaaaaaaaa", '[1, None]', 'a value of type object', 'a number of 16610 bits')
    """
    if type(value) is int and not _is_small(value):
        return f"a number of {value.bit_length()} bits"
    if type(value) in (list, tuple, dict):
        parts = [*value, *value.values()] if type(value) is dict else value
        if len(parts) > _PARTS or not all(map(_is_small, parts)):
            return f"a {type(value).__name__} of {len(value)} values"
    elif not _is_small(value):
        return f"a value of type {type(value).__name__}"
    return shortened(repr(value), _SHOWN)


def _is_small(value: Any) -> bool:
    return type(value) in _PLAIN and not (type(value) is int and value.bit_length() > _BITS)


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _unknown(name: str, known: list[str]) -> str:
    name = shortened(name, _SHOWN)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"{name} is no setting; " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}")


def _value(kind: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return settings_of(kind, {} if value is None else value, name)  # type: ignore[arg-type]
    if origin in (Union, UnionType):
        return None if value is None and NoneType in arguments else _of_several_kinds(arguments, value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise RecipeError(f"{name} must be one of {', '.join(map(str, arguments))}, got {shown(value)}")
        return value
    if origin is tuple:
        return _several(arguments, value, name)
    return _one(kind, value, name)


def _of_several_kinds(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    """Check a value that may be of one type, or one of a few words, or None."""
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if isinstance(value, str) and value in words:
        return value
    try:
        return _value(next(kind for kind in kinds if kind is not NoneType), value, name)
    except RecipeError as error:
        raise RecipeError(f"{error}; {' or '.join(words)} is allowed too" if words else str(error)) from None


def _several(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    length = None if arguments[-1] is ... else len(arguments)
    if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
        raise RecipeError(f"{name} must be a list{f' of {length} values' if length else ''}, got {shown(value)}")
    return tuple(_value(arguments[0], one, f"{name}[{index}]") for index, one in enumerate(value))


def _float(value: str | int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


_NOUNS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


def _one(kind: type, value: Any, name: str) -> Any:
    if kind is float and isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            value = _float(value)  # YAML takes 1e-3 for a word
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"{name} must be {_NOUNS[kind]} that is finite, got {value}")
    if isinstance(value, str) and not value.isprintable():
        raise RecipeError(f"{name} must have printable characters only, got {shown(value)}")
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise RecipeError(f"{name} must be {_NOUNS[kind]}, got {shown(value)}")
    return value
