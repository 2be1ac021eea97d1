"""Kinds of convolutions, which of them a user asks for, and what is said of the others."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from scalekeys.errors import CheckpointError

DEPTHWISE, GROUPED, ORDINARY = "depthwise", "grouped", "ordinary"
EVERY = "all"

Kinds: TypeAlias = frozenset[str]

GROUPS_NOT_KNOWN = (
    "weights without a graph do not say how many groups a convolution has; give the network or its graph, or read all "
    f'convolutions by kinds="{ORDINARY}"'
)
"""What is said where grouped convolutions are asked for and cannot be told from ordinary ones."""

DEPTHWISE_ONLY: Kinds = frozenset({DEPTHWISE})
_ALL: Kinds = frozenset({DEPTHWISE, GROUPED, ORDINARY})
_NOUNS = {DEPTHWISE: "depthwise layers", GROUPED: "grouped convolutions", ORDINARY: "ordinary convolutions"}


@dataclass(frozen=True)
class Wanted:
    """What a user wants of a source."""

    weights: str | None = None
    """Which of several nested sets of weights, by name; None for the preferred one."""
    kinds: Kinds = DEPTHWISE_ONLY
    """The kinds of convolutions."""


PREFERRED = Wanted()
"""What is read where a user does not say."""


def kinds_asked(kinds: str | Iterable[str]) -> Kinds:
    """Return the kinds of convolutions that a user asks for, by one name or several.

    Raises CheckpointError if a name is none of them, or there is no name.

    >>> sorted(kinds_asked("all"))
    ['depthwise', 'grouped', 'ordinary']
    >>> sorted(kinds_asked(("depthwise", "grouped")))
    ['depthwise', 'grouped']
    """
    names = [kinds] if isinstance(kinds, str) else list(kinds) if isinstance(kinds, Iterable) else []
    known = {EVERY: _ALL} | {kind: frozenset({kind}) for kind in _ALL}
    if not names or not all(isinstance(name, str) and name in known for name in names):
        given = repr(kinds) if len(repr(kinds)) < 100 else f"an object of type {type(kinds).__name__}"
        raise CheckpointError(
            f"kinds must be 'depthwise', 'grouped', 'ordinary' or 'all', or several of these names; got {given}"
        )
    return frozenset().union(*(known[name] for name in names))


def kind_of(*, groups: int, inputs: int, transposed: bool = False) -> str:
    """Return the kind of a convolution of so many groups, each with so many input channels.

    A transposed convolution is never depthwise, as its filters are not applied to the channels of its input but spread
    them.

    >>> kind_of(groups=8, inputs=1), kind_of(groups=2, inputs=4), kind_of(groups=1, inputs=8)
    ('depthwise', 'grouped', 'ordinary')
    """
    if groups <= 1:
        return ORDINARY
    return DEPTHWISE if inputs == 1 and not transposed else GROUPED


def nouns_of(kinds: Kinds) -> str:
    """Name the layers of some kinds.

    >>> nouns_of(kinds_asked("depthwise")), nouns_of(kinds_asked("all"))
    ('depthwise layers', 'convolutions')
    """
    return " or ".join(noun for kind, noun in _NOUNS.items() if kind in kinds) if kinds < _ALL else "convolutions"


def not_asked(groups: int, *, transposed: bool = False) -> str:
    """Say why a convolution of several groups that is not depthwise is left out, and how to have it read.

    >>> not_asked(4)
    'it is a convolution of 4 groups and not depthwise; kinds="grouped" reads it'
    """
    if transposed:
        return f'it is a transposed convolution of {groups} groups; kinds="{GROUPED}" reads it'
    return f'it is a convolution of {groups} groups and not depthwise; kinds="{GROUPED}" reads it'
