"""Choosing layers of a bank by name."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from scalekeys.errors import FilterError
from scalekeys.filters.bank import FilterBank

_NAMES_LISTED = 8


def matches(name: str, patterns: Sequence[str] | None) -> bool:
    """Tell whether a name fits one of the patterns, in which ``*`` stands for anything; without patterns all do.

    >>> matches("stages.0.dw", ["stages.*"]), matches("stages.0.dw", "stem"), matches("stem", None)
    (True, False, True)
    """
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in several(patterns))


def matching_layers(bank: FilterBank, patterns: Sequence[str] | None) -> list[bool]:
    """Return for each layer of a bank whether its name fits one of the patterns; raises FilterError if none does."""
    chosen = [matches(layer.name, patterns) for layer in bank.layers]
    if not any(chosen):
        raise FilterError(no_such_layer(patterns, [layer.name for layer in bank.layers]))
    return chosen


def wanted_layers(bank: FilterBank, layers: Sequence[str] | None, keep: Sequence[str] | None) -> list[bool]:
    """Return for each layer whether it is wanted and not kept; raises FilterError if none is."""
    wanted = matching_layers(bank, layers)
    if keep is None:
        return wanted
    left = [mine and not kept for mine, kept in zip(wanted, matching_layers(bank, keep), strict=True)]
    if not any(left):
        raise FilterError(
            f"every layer in question is kept ({' or '.join(map(repr, several(keep)))}); nothing is left to replace"
        )
    return left


def no_such_layer(patterns: Sequence[str] | None, names: Sequence[str]) -> str:
    """Say that no layer fits the patterns, and what the layers are called."""
    wanted = " or ".join(map(repr, several(patterns or ())))
    fault = f"no layer is called {wanted}" if wanted else "no layer was chosen: layers is empty"
    different = list(dict.fromkeys(names))
    more = len(different) - _NAMES_LISTED
    listed = ", ".join(different[:_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"{fault}; the layers are {listed}"


def several(patterns: Sequence[str]) -> Sequence[str]:
    """Take a name by itself for a list of one: its letters are no patterns."""
    return [patterns] if isinstance(patterns, str) else patterns
