"""Entries of JSON objects of any origin: an entry that is missing or of another kind is named in plain words."""

import json
from typing import Any

from scalekeys.errors import shortened

_KINDS = {dict: "an object", list: "a list", str: "a text", float: "a number"}
_LONGEST = 60


def entry(found: Any, *keys: str, kind: type, default: Any = None) -> Any:
    """Return an entry of an object, or of the objects inside it that the first keys name.

    `kind`: dict, list, str or float, which stands for every number.
    `default`: what is returned where an entry is missing or null; with None, that is refused.
    Raises ValueError if an entry is missing or of another kind.

    >>> entry({"a": {"b": [1]}}, "a", "b", kind=list), entry({}, "a", "b", kind=list, default=[])
    ([1], [])
    >>> entry({"a": {"b": 3}}, "a", "b", kind=str)
    Traceback (most recent call last):
        ...
    ValueError: its entry 'a.b' is not a text but 3
    """
    for depth, key in enumerate(keys):
        _check(found, dict, keys[:depth])
        found = found.get(key)
        if found is None and default is not None:
            return default
        if found is None:
            raise ValueError(f"its entry {_path(keys[: depth + 1])} is missing")
    _check(found, kind, keys)
    return found


def numbers(found: Any, *keys: str) -> list[int]:
    """Return the integers of an entry, which may be written as texts; none where it is missing.

    Raises ValueError if it is no list of such numbers.
    """
    values = entry(found, *keys, kind=list, default=[])
    try:
        return [int(value) for value in values]
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"its entry {_path(keys)} is not a list of integers but {_shown(values)}") from None


def _check(found: Any, kind: type, keys: tuple[str, ...]) -> None:
    if not isinstance(found, (int, float) if kind is float else kind):
        place = f"its entry {_path(keys)}" if keys else "a part of it"
        raise ValueError(f"{place} is not {_KINDS[kind]} but {_shown(found)}")  # noqa: TRY004 (the file is wrong, not the caller)


def _path(keys: tuple[str, ...]) -> str:
    return repr(".".join(keys))


def _shown(found: Any) -> str:
    return shortened(json.dumps(found), _LONGEST)
