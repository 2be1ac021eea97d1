"""The families of idealized receptive fields and the jets, by one rule for kernels of one, two or three axes.

Each family has components; a component is a sum of separable terms: an outer product of one profile for each axis, a
difference operator applied to the discrete analogue of the Gaussian (or the unit impulse). The parametrization of a
family defines the meaning of its parameters, and whether its components are weighted freely. Conventions: axes are in
the order (x, y, z); rows run down, so y points up and the profile in y is flipped along the rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, product
from types import MappingProxyType

from scalekeys.errors import ModelError
from scalekeys.scalespace.discretizations import Discretization
from scalekeys.scalespace.parametrizations import Oriented, Parametrization, Strengthened, TwoScales, per_axis

AXES = "xyz"
"""Names of the axes; a kernel of D axes has the first D of them."""

IMPULSE = "impulse"
"""The operator that gives the unit impulse, whatever the scale."""


@dataclass(frozen=True)
class Term:
    """One separable term: a weight times the outer product of one profile for each axis.

    Parameters
    ----------
    operators : tuple of str
        The difference operator along each axis, in the order (x, y, z), by name.
    weight : float
        Constant factor.
    """

    operators: tuple[str, ...]
    weight: float = 1.0


Component = tuple[Term, ...]


@dataclass(frozen=True)
class Family:
    """A family of receptive fields.

    Parameters
    ----------
    name : str
        Short name, as used in tables.
    formula : str
        The receptive field in the notation of the paper.
    words : str
        Its effect, in words for a reader new to the theory.
    components : tuple of tuple of Term
        The components, each a sum of separable terms.
    parametrization : Parametrization
        What the parameters are, and how the components are weighted: by the parameters, or freely.
    mixed : bool
        Whether the components are weighted freely, as the derivatives of a jet.
    discretization : str
        How the derivatives of the Gaussian are discretized, see :func:`scalekeys.scalespace.gaussian_derivative`.
    """

    name: str
    formula: str
    words: str
    components: tuple[Component, ...]
    parametrization: Parametrization
    mixed: bool = False
    discretization: Discretization = "discrete"

    @property
    def axes(self) -> int:
        """How many axes the kernels have."""
        return self.parametrization.axes

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters.

        Examples
        --------
        >>> family("dx").parameters, family("sharpen").parameters
        (('tx', 'ty'), ('t', 'alpha'))
        """
        return self.parametrization.names

    @property
    def terms(self) -> Component:
        """The terms of all components."""
        return tuple(term for component in self.components for term in component)

    @property
    def coefficients(self) -> int:
        """How many coefficients a model of a filter has: one, or one for each component of a mixture."""
        return len(self.components) if self.mixed else 1

    @property
    def numbers(self) -> int:
        """How many numbers a model of a filter takes: parameters, coefficients and an offset.

        Examples
        --------
        >>> family("smooth").numbers, family("smooth", axes=1).numbers, family("jet2").numbers
        (4, 3, 9)
        """
        return len(self.parametrization.names) + self.coefficients + 1

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Orders of differentiation along the axes; zero for all where there is an impulse.

        Examples
        --------
        >>> family("dx+").order, family("smooth").order, family("sharpen").order
        ((1, 0), (0, 0), (0, 0))
        """
        return tuple(ORDERS[operator] for operator in self.terms[0].operators)

    @cached_property
    def is_outer_product(self) -> bool:
        """Whether the receptive field is one outer product of profiles, with a separate scale for each axis."""
        return len(self.terms) == 1 and self.parametrization == per_axis(self.axes)

    @cached_property
    def differentiated(self) -> tuple[bool, ...]:
        """Along which axes some term takes a difference, which needs more than one tap there."""
        return tuple(
            any(term.operators[axis] not in ("identity", IMPULSE) for term in self.terms) for axis in range(self.axes)
        )


_CENTRED = ("identity", "central", "second", "third", "fourth", "fifth", "sixth")  # by order, in a jet
ORDERS = {name: order for order, name in enumerate(_CENTRED)} | {"forward": 1, "backward": 1, IMPULSE: 0}
"""Order of differentiation by operator."""

_NEIGHBOURS = {
    "x+": "the pixel against its left neighbour",
    "x-": "the pixel against its right neighbour",
    "y+": "the pixel against its neighbour below",
    "y-": "the pixel against its neighbour above",
    "z+": "the pixel against the previous slice",
    "z-": "the pixel against the next slice",
}
_DIRECTIONS = {"x": "horizontal", "y": "vertical", "z": "along z"}
_PUBLISHED_ORDER = ("dy+", "dx-", "dy-", "dx+", "dx", "dy", "sharpen", "smooth")  # the paper's filters 1 to 8


def _along(operators: Mapping[int, str], axes: int) -> tuple[str, ...]:
    """Return given operators along some axes, and the identity along the others."""
    return tuple(operators.get(axis, "identity") for axis in range(axes))


def _profiles(differences: Mapping[int, str], axes: int) -> str:
    """Return the formula of an outer product: differences by axis, applied to T."""
    parts = [f"{differences.get(axis, '')} T({AXES[axis]}; t{AXES[axis]})".strip() for axis in range(axes)]
    return " · ".join(parts)


def _smoothing(axes: int) -> str:
    """Return the formula of a smoothing with one scale for all axes."""
    return f"T({', '.join(AXES[:axes])}; t)"


def _laplacian(axes: int) -> Component:
    return tuple(Term(_along({axis: "second"}, axes)) for axis in range(axes))


def _laplacian_symbol(axes: int) -> str:
    return "δxx" if axes == 1 else f"∇{2 * axes + 1}²"


def _ideal(axes: int) -> Iterator[Family]:
    """Yield the 3 D + 2 idealized receptive fields of D axes."""
    scales = per_axis(axes)
    found = {}
    for axis, name in enumerate(AXES[:axes]):
        for sign, operator in (("+", "forward"), ("-", "backward")):
            words = _NEIGHBOURS[name + sign]
            found[f"d{name}{sign}"] = (_profiles({axis: f"δ{name}{sign}"}, axes), words, {axis: operator})
        direction = _DIRECTIONS[name]
        words = f"centred {direction} derivative" if name != "z" else f"centred derivative {direction}"
        found[f"d{name}"] = (_profiles({axis: f"δ{name}"}, axes), words, {axis: "central"})
    families = {
        name: Family(name, formula, words, ((Term(_along(operators, axes)),),), scales)
        for name, (formula, words, operators) in found.items()
    }
    families["sharpen"] = Family(
        "sharpen",
        f"impulse - α {_laplacian_symbol(axes)} {_smoothing(axes)}",  # noqa: RUF001
        "the pixel against its surround",
        ((Term((IMPULSE,) * axes),), tuple(Term(term.operators, -1.0) for term in _laplacian(axes))),
        Strengthened(axes),
    )
    families["smooth"] = Family(
        "smooth", _profiles({}, axes), "weighted mean of the neighbourhood", ((Term(_along({}, axes)),),), scales
    )
    names = (*_PUBLISHED_ORDER[:4], "dz+", "dz-", *_PUBLISHED_ORDER[4:6], "dz", *_PUBLISHED_ORDER[6:])
    yield from (families[name] for name in names if name in families)


def _second_order(axes: int) -> Iterator[Family]:
    """Yield the pure and mixed second derivatives of D axes, and their sum where there is more than one."""
    scales = per_axis(axes)
    for axis, name in enumerate(AXES[:axes]):
        words = f"second {_DIRECTIONS[name]} derivative" if name != "z" else "second derivative along z"
        formula = _profiles({axis: f"δ{name}{name}"}, axes)
        yield Family(f"d{name}{name}", formula, words, ((Term(_along({axis: "second"}, axes)),),), scales)
    for first, second in combinations(range(axes), 2):
        a, b = AXES[first], AXES[second]
        term = Term(_along({first: "central", second: "central"}, axes))
        formula = _profiles({first: f"δ{a}", second: f"δ{b}"}, axes)
        words = "mixed second derivative" if axes == 2 else f"mixed second derivative in {a} and {b}"
        yield Family(f"d{a}{b}", formula, words, ((term,),), scales)
    if axes > 1:
        words = f"sum of {'both' if axes == 2 else 'all'} second derivatives"
        formula = f"{_laplacian_symbol(axes)} {_profiles({}, axes)}"
        yield Family("laplacian", formula, words, (_laplacian(axes),), scales)


def _jet(order: int, axes: int) -> Family:
    """Every derivative up to an order, each as a separate component."""
    powers = [power for power in product(range(order + 1), repeat=axes) if sum(power) <= order]
    powers.sort(key=lambda power: (sum(power), [-p for p in power]))
    components = tuple((Term(tuple(_CENTRED[p] for p in power)),) for power in powers)
    indices = "ijk"[:axes]
    differences = " ".join(f"δ{axis}^{index}" for axis, index in zip(AXES, indices, strict=False))
    formula = f"Σ c{indices} {differences} {_profiles({}, axes)}, {' + '.join(indices)} ≤ {order}"
    words = f"free mixture of all derivatives up to order {order}"
    return Family(f"jet{order}", formula, words, components, per_axis(axes), mixed=True)


def _difference_of_scales(axes: int) -> Family:
    smooth = (Term(_along({}, axes)),)
    formula = f"T({', '.join(AXES[:axes])}; t1) - T({', '.join(AXES[:axes])}; t2), t1 < t2"
    return Family("dog", formula, "difference of two smoothings", (smooth, smooth), TwoScales(axes))


def _oriented() -> Iterator[Family]:
    """Yield smoothing with an affine kernel, and its first and second derivative along its angle, on two axes."""
    kinds = (
        ("affine", "T(x, y; C)", "weighted mean, longer along an angle"),
        ("dphi", "δφ T(x, y; C)", "derivative along an angle"),
        ("dphiphi", "δφφ T(x, y; C)", "second derivative along an angle"),
    )
    for order, (name, formula, words) in enumerate(kinds):
        operators = [("identity", "identity")], [("central", "identity"), ("identity", "central")]
        terms = (
            operators[order] if order < 2 else [("second", "identity"), ("central", "central"), ("identity", "second")]
        )
        yield Family(name, formula, words, (tuple(Term(own) for own in terms),), Oriented(order))


_JET_ORDERS = (1, 2, 3)
_WIDE_ORDER = len(_CENTRED) - 1


@lru_cache(maxsize=8)
def families(axes: int) -> Mapping[str, Family]:
    """Return every family of kernels of D axes by name.

    Parameters
    ----------
    axes : int
        1, 2 or 3.

    Returns
    -------
    mapping of str to Family
        The idealized receptive fields (for two axes the paper's filters 1 to 8 in their order), the jets, second order,
        two scales, and the jet of order 6.

    Raises
    ------
    ModelError
        If there is no such number of axes.

    Examples
    --------
    >>> print(*ideal(1), "|", *ideal(2), "|", len(ideal(3)))
    dx- dx+ dx sharpen smooth | dy+ dx- dy- dx+ dx dy sharpen smooth | 11
    """
    if axes not in (1, 2, 3):
        raise ModelError(f"kernels have 1, 2 or 3 axes, got {axes}")
    found = (
        *_ideal(axes),
        *(_jet(order, axes) for order in _JET_ORDERS),
        *_second_order(axes),
        _difference_of_scales(axes),
        *(_oriented() if axes == 2 else ()),
        _jet(_WIDE_ORDER, axes),
    )
    return MappingProxyType({family.name: family for family in found})


def ideal(axes: int) -> tuple[str, ...]:
    """Return the names of the 3 D + 2 idealized receptive fields of D axes."""
    return tuple(name for name in families(axes) if name in _ideal_names(axes))


@lru_cache(maxsize=8)
def _ideal_names(axes: int) -> frozenset[str]:
    return frozenset(family.name for family in _ideal(axes))


def second_order(axes: int) -> tuple[str, ...]:
    """Return the names of the families of second order of D axes.

    Examples
    --------
    >>> second_order(1), second_order(2)
    (('dxx',), ('dxx', 'dyy', 'dxy', 'laplacian'))
    """
    return tuple(family.name for family in _second_order(axes))


FAMILIES: Mapping[str, Family] = families(2)
"""Every family of two axes by name: the paper's filters 1 to 8 in their order, the jets, and the others."""

SECOND_ORDER: tuple[str, ...] = second_order(2)
"""Names of the families of second order: both second derivatives, the mixed one and the Laplacian."""

JETS: tuple[str, ...] = tuple(f"jet{order}" for order in _JET_ORDERS)
"""Names of the jets of order 1, 2 and 3: free mixtures of all derivatives up to an order."""

ORIENTED: tuple[str, ...] = tuple(family.name for family in _oriented())
"""Names of the oriented families of two axes: smoothing, first and second derivative along an angle."""

WIDE_JET: str = f"jet{_WIDE_ORDER}"
"""Name of the jet of order 6, of whose derivatives sparse models take a few."""

IDEAL8: tuple[str, ...] = ideal(2)
"""Names of the eight idealized receptive fields, in the order of the paper's filters 1 to 8."""

_BY_AXES = {axes: families(axes) for axes in (1, 2, 3)}  # for the compiler, which does not see through a cache


def family(name: str, axes: int = 2) -> Family:
    """Look a family up by name.

    Raises
    ------
    ModelError
        If there is no such family for kernels of so many axes.

    Examples
    --------
    >>> family("dx").formula, family("dx", axes=1).formula
    ('δx T(x; tx) · T(y; ty)', 'δx T(x; tx)')
    """
    known = _BY_AXES[axes] if axes in _BY_AXES else families(axes)
    if name not in known:
        of = "" if axes == 2 else f" of kernels with {axes} {'axis' if axes == 1 else 'axes'}"
        raise ModelError(f"no family{of} is called {name!r}; the families are {', '.join(known)}")
    return known[name]
