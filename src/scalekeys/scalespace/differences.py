"""Difference operators and Laplacians as stencils, and their action on a windowed kernel.

A kernel ``f`` is a function of an integer coordinate that grows to the right (x) or **upwards** (y). An operator with
stencil ``{offset: weight}`` gives ``(D f)(n) = sum of weight * f(n + offset)``.

The taps of a window with an odd side lie at integers. The taps of an even side lie half-way between integers, where
half-sample operators are used: the mean of two neighbours replaces the identity, and the difference of two neighbours
replaces the centred difference.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError, check_choice
from scalekeys.shapes import Kernel1d, size_text

Window: TypeAlias = Literal["exact", "published"]
WINDOWS: tuple[Window, ...] = get_args(Window)


@dataclass(frozen=True)
class Difference:
    """A one-dimensional difference operator.

    Parameters
    ----------
    name : str
        Its name in :data:`DIFFERENCES`.
    symbol : str
        How the literature writes it.
    stencil : mapping of float to float
        Weight by offset, for taps at integers.
    half : mapping of float to float, optional
        The same for taps half-way between integers: offsets are half-integers. Where it is missing, the operator has no
        form on a window with an even side.
    mirrored : bool
        Which border the *published* window uses: mirrored (``f(c + 1) := f(c)``) or zero.
    """

    name: str
    symbol: str
    stencil: Mapping[float, float]
    half: Mapping[float, float] | None = None
    mirrored: bool = True

    @property
    def reach(self) -> int:
        """Largest absolute offset of the stencil for taps at integers."""
        return int(max(map(abs, self.stencil)))

    def on(self, size: int) -> Mapping[float, float]:
        """Return the stencil on a window of `size` taps.

        Raises
        ------
        ModelError
            If the side is even, and the operator has no half-sample form.

        Examples
        --------
        >>> dict(CENTRAL.on(3)), dict(CENTRAL.on(4))
        ({1: 0.5, -1: -0.5}, {0.5: 1.0, -0.5: -1.0})
        """
        if size % 2:
            return self.stencil
        if self.half is None:
            raise ModelError(f"operator {self.name!r} has no form on an even number of taps, got {size}")
        return self.half

    def margin(self, size: int) -> int:
        """Return how many taps of a kernel it needs beyond each end of a window of `size` taps."""
        return math.ceil(max(map(abs, self.on(size))) - (0 if size % 2 else 0.5))


def _fixed(stencil: dict[float, float]) -> Mapping[float, float]:
    return MappingProxyType({offset: weight for offset, weight in stencil.items() if weight})


def _convolved(first: Mapping[float, float], second: Mapping[float, float]) -> Mapping[float, float]:
    """Return the stencil of two operators, one after the other."""
    stencil: dict[float, float] = {}
    for a, wa in first.items():
        for b, wb in second.items():
            stencil[a + b] = stencil.get(a + b, 0.0) + wa * wb
    return MappingProxyType(stencil)


_MEAN, _STEP = _fixed({0.5: 0.5, -0.5: 0.5}), _fixed({0.5: 1.0, -0.5: -1.0})
_CENTRED, _BEND = _fixed({1: 0.5, -1: -0.5}), _fixed({1: 1.0, 0: -2.0, -1: 1.0})

IDENTITY = Difference("identity", "1", _fixed({0: 1.0}), _MEAN)
# One-sided differences are antisymmetric about -1/2 and 1/2; about a tap half-way between integers that is the centred
# difference about one of the two middle taps.
FORWARD = Difference("forward", "δ+", _fixed({1: 1.0, 0: -1.0}), _fixed({1.5: 0.5, -0.5: -0.5}))
BACKWARD = Difference("backward", "δ-", _fixed({0: 1.0, -1: -1.0}), _fixed({0.5: 0.5, -1.5: -0.5}))
CENTRAL = Difference("central", "δ", _CENTRED, _STEP)
SECOND = Difference("second", "δδ", _BEND, _convolved(_MEAN, _BEND), mirrored=False)


def _higher(name: str, lower: Difference) -> Difference:
    """Return the operator two orders above another one."""
    assert lower.half is not None
    symbol = "δ" * (2 + (1 if lower is CENTRAL else len(lower.symbol)))
    half = _convolved(lower.half, _BEND)
    return Difference(name, symbol, _fixed(dict(_convolved(lower.stencil, _BEND))), half, mirrored=False)


THIRD = _higher("third", CENTRAL)
FOURTH = _higher("fourth", SECOND)
FIFTH = _higher("fifth", THIRD)
SIXTH = _higher("sixth", FOURTH)

DIFFERENCES: Mapping[str, Difference] = MappingProxyType(
    {
        operator.name: operator
        for operator in (IDENTITY, FORWARD, BACKWARD, CENTRAL, SECOND, THIRD, FOURTH, FIFTH, SIXTH)
    }
)


def compose(*operators: Difference) -> Difference:
    """Return the composition of difference operators, whose stencil is the convolution of theirs.

    Examples
    --------
    >>> dict(compose(CENTRAL, CENTRAL).stencil)
    {2: 0.25, 0: -0.5, -2: 0.25}
    """
    return reduce(_compose_two, (operator for operator in operators if operator is not IDENTITY), IDENTITY)


def _compose_two(first: Difference, second: Difference) -> Difference:
    return Difference(
        name="·".join(o.name for o in (first, second) if o is not IDENTITY) or "identity",
        symbol="".join(o.symbol for o in (first, second) if o is not IDENTITY) or "1",
        stencil=_convolved(first.stencil, second.stencil),
        mirrored=first.mirrored and second.mirrored,
    )


def difference_rows(operator: Difference, size: int, margin: int, window: Window) -> list[list[float]]:
    """Return the rows of :func:`difference_matrix` as plain numbers, without checks.

    Plain numbers may be kept while a model is traced or built on another device; a tensor made there may not.
    """
    radius, middle = size // 2 + margin, (size - 1) / 2
    rows = [[0.0] * (2 * radius + 1) for _ in range(size)]
    for offset, weight in operator.on(size).items():
        for index, row in enumerate(rows):
            place = index - middle + offset
            if window == "published" and abs(place) > middle:
                if not operator.mirrored:
                    continue
                place = min(max(place, -middle), middle)
            row[int(place) + radius] += weight
    return rows


def check_window(window: str, size: tuple[int, ...]) -> None:
    """Refuse a window that is not known, and the published one on an even side."""
    check_choice("window", window, WINDOWS)
    if window == "published" and any(side % 2 == 0 for side in size):
        raise ModelError(f"the published window is defined for odd sides, got {size_text(size)}; use window='exact'")


def difference_matrix(operator: Difference, size: int, margin: int, window: Window = "exact") -> Tensor:
    """Return the operator as a matrix from a wide kernel to the ``size`` taps of a window.

    Parameters
    ----------
    operator : Difference
        One of :data:`DIFFERENCES`, or a composition of them.
    size : int
        Number of taps of the window; at least 1.
    margin : int
        How many taps the wide kernel has beyond the window on each side; at least the margin of the operator.
    window : {"exact", "published"}
        Whether differences are taken before cropping to the window (exact), or after it, with the border of the
        published scripts: mirrored for first differences and zero for the second. (Beyond the first tap outside,
        which the scripts do not need, the mirrored border repeats the last one inside.) The published window needs an
        odd side.

    Returns
    -------
    Tensor, shape (size, 2 (size // 2 + margin) + 1), float64
        The columns are the integers around the centre of the window.

    Raises
    ------
    ModelError
        If the window is unknown, empty, or published with an even side, or the margin too small.

    Examples
    --------
    >>> difference_matrix(FORWARD, 3, 1)
    tensor([[ 0., -1.,  1.,  0.,  0.],
            [ 0.,  0., -1.,  1.,  0.],
            [ 0.,  0.,  0., -1.,  1.]], dtype=torch.float64)
    """
    if size < 1:
        raise ModelError(f"the window must have at least 1 tap, got {size}")
    check_window(window, (size,))
    if margin < operator.margin(size):
        raise ModelError(f"operator {operator.name!r} needs a margin of {operator.margin(size)} taps, got {margin}")
    return torch.tensor(difference_rows(operator, size, margin, window), dtype=torch.float64)


def difference(f: Kernel1d, operator: Difference, window: Window = "exact") -> Float[Tensor, "*batch kept"]:
    """Apply a difference operator along the last axis.

    Parameters
    ----------
    f : Tensor, shape (..., taps)
        A kernel sampled at consecutive integers, in floating point.
    operator : Difference
        One of :data:`DIFFERENCES`, or a composition of them.
    window : {"exact", "published"}
        Exact: only taps whose whole neighbourhood is known are returned. Published: as many taps as given, with the
        border of the published scripts.

    Returns
    -------
    Tensor, shape (..., taps - 2 reach) or (..., taps)

    Raises
    ------
    ModelError
        If fewer taps are given than the operator needs, or not in floating point.

    Examples
    --------
    >>> difference(torch.tensor([0.0, 1.0, 4.0, 9.0]), SECOND)
    tensor([2., 2.])
    >>> difference(torch.tensor([0.0, 1.0, 4.0, 9.0]), FORWARD, window="published")
    tensor([1., 3., 5., 0.])
    """
    if not f.is_floating_point():
        raise ModelError(f"a kernel must be floating-point, got {f.dtype}")
    check_window(window, ())
    reach = operator.reach
    if window == "published":
        ends = (f[..., :1], f[..., -1:]) if operator.mirrored else (torch.zeros_like(f[..., :1]),) * 2
        left, right = (end.expand(*f.shape[:-1], reach) for end in ends)
        f = torch.cat([left, f, right], dim=-1)
    size = f.shape[-1] - 2 * reach
    if size < 1:
        raise ModelError(f"operator {operator.name!r} needs at least {2 * reach + 1} taps, got {f.shape[-1]}")
    parts = [weight * f[..., reach + int(n) : reach + int(n) + size] for n, weight in operator.stencil.items()]
    return torch.stack(parts).sum(0)


def laplacian_stencil(gamma: float = 0.0) -> Tensor:
    """Return the 3 x 3 stencil of the discrete Laplacian ``(1 - gamma) L5 + gamma Lx``.

    ``gamma = 0`` is the five-point Laplacian, ``gamma = 1`` the cross, ``gamma = 1/3`` the most isotropic.

    Returns
    -------
    Tensor, shape (3, 3), float64

    References
    ----------
    T. Lindeberg, *Scale-Space Theory in Computer Vision*, 1994, section 4.2.

    Examples
    --------
    >>> laplacian_stencil()
    tensor([[ 0.,  1.,  0.],
            [ 1., -4.,  1.],
            [ 0.,  1.,  0.]], dtype=torch.float64)
    """
    five_point = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    cross = torch.tensor([[0.5, 0, 0.5], [0, -2, 0], [0.5, 0, 0.5]], dtype=torch.float64)
    return (1 - gamma) * five_point + gamma * cross


def mixed_stencil() -> Tensor:
    """Return the 3 x 3 stencil of the mixed second difference ``delta_x delta_y``, rows from top (y = 1) to bottom.

    Returns
    -------
    Tensor, shape (3, 3), float64
        In the sense ``(D f)(x, y) = sum of stencil * f`` over the neighbourhood.

    Examples
    --------
    >>> mixed_stencil()
    tensor([[-0.2500,  0.0000,  0.2500],
            [ 0.0000,  0.0000,  0.0000],
            [ 0.2500,  0.0000, -0.2500]], dtype=torch.float64)
    """
    return torch.tensor([[-0.25, 0, 0.25], [0, 0, 0], [0.25, 0, -0.25]], dtype=torch.float64)
