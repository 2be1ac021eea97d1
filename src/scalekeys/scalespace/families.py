"""The idealized receptive fields, as one table.

Each family is a sum of separable terms: an outer product of a column profile in y and a row profile in x, each a
difference operator applied to the discrete analogue of the Gaussian (or to the unit impulse). Conventions: rows run
down, so y points up and the profile in y is flipped when it is laid along the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from scalekeys.errors import ModelError


@dataclass(frozen=True)
class Term:
    """One separable term ``weight * x(T(.; tx)) * y(T(.; ty))`` of a template.

    Parameters
    ----------
    x, y : str
        Names of difference operators.
    weight : float
        Constant factor.
    """

    x: str
    y: str
    weight: float = 1.0


@dataclass(frozen=True)
class Family:
    """An idealized receptive field: a sum of separable terms, or the unit impulse plus alpha times such a sum.

    Parameters
    ----------
    name : str
        Short name, as it stands in tables.
    formula : str
        The receptive field in the notation of the paper.
    words : str
        What it does, in words for a reader new to the theory.
    terms : tuple of Term
        The separable terms that depend on the scale.
    impulse : float
        Weight of the unit impulse. Where it is not 0, the terms share one scale for both axes and are multiplied by a
        strength alpha, a second parameter of the family.
    """

    name: str
    formula: str
    words: str
    terms: tuple[Term, ...]
    impulse: float = 0.0

    @property
    def has_alpha(self) -> bool:
        """Whether the family has one common scale and a sharpening strength, instead of a scale for each axis."""
        return self.impulse != 0

    def differentiates(self, axis: Literal["x", "y"]) -> bool:
        """Return whether some term takes a difference along the axis, which needs more than one tap there."""
        return any(getattr(term, axis) != "identity" for term in self.terms)


_MINUS_LAPLACIAN = (Term("second", "identity", weight=-1.0), Term("identity", "second", weight=-1.0))

_IDEAL8 = (
    Family("dy+", "T(x; tx) · δy+ T(y; ty)", "difference to the neighbour above", (Term("identity", "forward"),)),
    Family("dx-", "δx- T(x; tx) · T(y; ty)", "difference to the left neighbour", (Term("backward", "identity"),)),
    Family("dy-", "T(x; tx) · δy- T(y; ty)", "difference to the neighbour below", (Term("identity", "backward"),)),
    Family("dx+", "δx+ T(x; tx) · T(y; ty)", "difference to the right neighbour", (Term("forward", "identity"),)),
    Family("dx", "δx T(x; tx) · T(y; ty)", "centred horizontal derivative", (Term("central", "identity"),)),
    Family("dy", "T(x; tx) · δy T(y; ty)", "centred vertical derivative", (Term("identity", "central"),)),
    Family("sharpen", "impulse - α ∇5² T(x, y; t)", "the pixel against its surround", _MINUS_LAPLACIAN, 1.0),  # noqa: RUF001
    Family("smooth", "T(x; tx) · T(y; ty)", "weighted mean of the neighbourhood", (Term("identity", "identity"),)),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _IDEAL8})
"""Every family by name, in the order of the paper's filters 1 to 8."""

IDEAL8: tuple[str, ...] = tuple(family.name for family in _IDEAL8)
"""Names of the eight idealized receptive fields, in the order of the paper's filters 1 to 8."""


def family(name: str) -> Family:
    """Look a family up by name.

    Raises
    ------
    ModelError
        If there is no such family.

    Examples
    --------
    >>> family("dx").formula
    'δx T(x; tx) · T(y; ty)'
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise ModelError(f"no family is called {name!r}; the families are {', '.join(FAMILIES)}") from None
