"""YAML of any origin, read into plain values: of bounded depth and size, and without a foreign error."""

from collections.abc import Iterator
from typing import Any

from scalekeys.errors import RecipeError
from scalekeys.optional import in_short, require

_DEEPEST, _MOST = 20, 10_000
"""How deep values may be nested, and how many there may be, with every alias written out."""


def parse_yaml(text: str, where: str) -> Any:
    """Return the values of a text in YAML.

    `where`: what errors put first.
    Raises RecipeError if the text is no YAML, or is too deep or too large, or a value is none of its type;
    MissingExtraError if PyYAML is not installed.

    >>> parse_yaml("data: {size: 32}", "recipe.yaml")
    {'data': {'size': 32}}
    >>> parse_yaml("a: [", "recipe.yaml")
    Traceback (most recent call last):
        ...
    scalekeys.errors.RecipeError: recipe.yaml, line 1: is not YAML (expected the node content, but found ...
    """
    yaml = require("yaml", extra="train")
    try:
        too_large = _is_too_large(yaml.parse(text, Loader=yaml.SafeLoader), yaml.events)
        values = None if too_large else yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise RecipeError(f"{where}{line}: is not YAML ({error.problem or 'a wrong character'})") from None
    except yaml.YAMLError:
        raise RecipeError(f"{where}: is not YAML (it has a control character); remove that") from None
    except Exception as error:  # what makes a value of a word has no common class
        raise RecipeError(f"{where}: has a value that YAML cannot read ({in_short(error)}); correct it") from None
    if too_large:
        raise RecipeError(
            f"{where}: has more than {_MOST} values, counting aliases as what they stand for, or more than {_DEEPEST} "
            "levels; a recipe has less"
        )
    return values


def _is_too_large(events: Iterator[Any], kinds: Any) -> bool:
    """Count values, with every alias written out, before any is made; one that contains itself is too large."""
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []
    count = 0
    for event in events:
        if isinstance(event, kinds.AliasEvent):
            count += sizes.get(event.anchor, _MOST)
        elif isinstance(event, kinds.NodeEvent):
            count += 1
            if isinstance(event, kinds.CollectionStartEvent):
                opened.append((event.anchor, count - 1))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, kinds.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        if count > _MOST or len(opened) > _DEEPEST:
            return True
    return False
