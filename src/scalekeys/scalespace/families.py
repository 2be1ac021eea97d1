"""The idealized receptive fields and the jets, as one table.

Each family has one component, or several that are weighted freely; a component is a sum of separable terms: an outer
product of a column profile in y and a row profile in x, each a difference operator applied to the discrete analogue of
the Gaussian (or to the unit impulse). Conventions: rows run down, so y points up and the profile in y is flipped when
it is laid along the rows.
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
    """A family of receptive fields over scales: one component, the unit impulse plus alpha times one, or several.

    Parameters
    ----------
    name : str
        Short name, as it stands in tables.
    formula : str
        The receptive field in the notation of the paper.
    words : str
        What it does, in words for a reader new to the theory.
    components : tuple of tuple of Term
        The components, each a sum of separable terms that depend on the scale. An idealized receptive field has one; a
        jet has one for each derivative, and a model of a filter weights them freely.
    impulse : float
        Weight of the unit impulse. Where it is not 0, the terms share one scale for both axes and are multiplied by a
        strength alpha, a second parameter of the family.
    two_scales : bool
        Whether the receptive field is the component at one scale minus the same at a larger one, each for both axes.
    """

    name: str
    formula: str
    words: str
    components: tuple[tuple[Term, ...], ...]
    impulse: float = 0.0
    two_scales: bool = False

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of all components."""
        return tuple(term for component in self.components for term in component)

    @property
    def has_alpha(self) -> bool:
        """Whether the family has one common scale and a sharpening strength, instead of a scale for each axis."""
        return self.impulse != 0

    @property
    def isotropic(self) -> bool:
        """Whether one scale serves both axes, and the second parameter is not a scale along y."""
        return self.has_alpha or self.two_scales

    @property
    def is_separable(self) -> bool:
        """Whether the receptive field is one outer product of two profiles."""
        return len(self.terms) == 1 and not self.isotropic

    def differentiates(self, axis: Literal["x", "y"]) -> bool:
        """Return whether some term takes a difference along the axis, which needs more than one tap there."""
        return any(getattr(term, axis) != "identity" for term in self.terms)

    @property
    def is_jet(self) -> bool:
        """Whether a filter is modelled by several components with free coefficients."""
        return len(self.components) > 1

    @property
    def order(self) -> tuple[int, int]:
        """Orders of differentiation in (x, y) of a separable family; (0, 0) where there is an impulse.

        Examples
        --------
        >>> family("dx+").order, family("smooth").order, family("sharpen").order
        ((1, 0), (0, 0), (0, 0))
        """
        if self.impulse:
            return 0, 0
        return _ORDERS[self.terms[0].x], _ORDERS[self.terms[0].y]


_CENTRED = ("identity", "central", "second", "third", "fourth", "fifth", "sixth")  # by order, in a jet
_ORDERS = {name: order for order, name in enumerate(_CENTRED)} | {"forward": 1, "backward": 1}

_MINUS_LAPLACIAN = (Term("second", "identity", weight=-1.0), Term("identity", "second", weight=-1.0))

_IDEAL8 = (
    Family("dy+", "T(x; tx) · δy+ T(y; ty)", "difference to the neighbour above", ((Term("identity", "forward"),),)),
    Family("dx-", "δx- T(x; tx) · T(y; ty)", "difference to the left neighbour", ((Term("backward", "identity"),),)),
    Family("dy-", "T(x; tx) · δy- T(y; ty)", "difference to the neighbour below", ((Term("identity", "backward"),),)),
    Family("dx+", "δx+ T(x; tx) · T(y; ty)", "difference to the right neighbour", ((Term("forward", "identity"),),)),
    Family("dx", "δx T(x; tx) · T(y; ty)", "centred horizontal derivative", ((Term("central", "identity"),),)),
    Family("dy", "T(x; tx) · δy T(y; ty)", "centred vertical derivative", ((Term("identity", "central"),),)),
    Family("sharpen", "impulse - α ∇5² T(x, y; t)", "the pixel against its surround", (_MINUS_LAPLACIAN,), 1.0),  # noqa: RUF001
    Family("smooth", "T(x; tx) · T(y; ty)", "weighted mean of the neighbourhood", ((Term("identity", "identity"),),)),
)


def _jet(order: int) -> Family:
    """Every derivative up to an order, each a component of its own."""
    powers = [(total - j, j) for total in range(order + 1) for j in range(total + 1)]
    components = tuple((Term(_CENTRED[i], _CENTRED[j]),) for i, j in powers)
    words = f"free mixture of all derivatives up to order {order}"
    return Family(f"jet{order}", f"Σ cij δx^i δy^j T(x; tx) · T(y; ty), i + j ≤ {order}", words, components)


_JETS = tuple(_jet(order) for order in (1, 2, 3))
_WIDE_JET = _jet(len(_CENTRED) - 1)

_SECOND_ORDER = (
    Family("dxx", "δxx T(x; tx) · T(y; ty)", "second horizontal derivative", ((Term("second", "identity"),),)),
    Family("dyy", "T(x; tx) · δyy T(y; ty)", "second vertical derivative", ((Term("identity", "second"),),)),
    Family("dxy", "δx T(x; tx) · δy T(y; ty)", "mixed second derivative", ((Term("central", "central"),),)),
    Family(
        "laplacian",
        "∇5² T(x; tx) · T(y; ty)",
        "sum of both second derivatives",
        ((Term("second", "identity"), Term("identity", "second")),),
    ),
)

_TWO_SCALE = Family(
    "dog",
    "T(x, y; t1) - T(x, y; t2), t1 < t2",
    "difference of two smoothings",
    ((Term("identity", "identity"),),),
    two_scales=True,
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (*_IDEAL8, *_JETS, *_SECOND_ORDER, _TWO_SCALE, _WIDE_JET)}
)
"""Every family by name: the paper's filters 1 to 8 in their order, the jets, second order, two scales, order 6."""

SECOND_ORDER: tuple[str, ...] = tuple(family.name for family in _SECOND_ORDER)
"""Names of the families of second order: both second derivatives, the mixed one and the Laplacian."""

JETS: tuple[str, ...] = tuple(family.name for family in _JETS)
"""Names of the jets of order 1, 2 and 3: free mixtures of all derivatives up to an order."""

WIDE_JET: str = _WIDE_JET.name
"""Name of the jet of order 6, of whose 28 derivatives sparse models take a few."""

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
