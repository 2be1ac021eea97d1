"""Difference operators and Laplacians as stencils, and their action on a windowed kernel.

A kernel ``f`` is a function of an integer coordinate that grows to the right (x) or **upwards** (y). An operator with
stencil ``{offset: weight}`` gives ``(D f)(n) = sum of weight * f(n + offset)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.shapes import Kernel1d

Window: TypeAlias = Literal["exact", "published"]
WINDOWS: tuple[Window, ...] = get_args(Window)


@dataclass(frozen=True)
class Difference:
    """A one-dimensional difference operator.

    Parameters
    ----------
    name : str
        The key under which it stands in :data:`DIFFERENCES`.
    symbol : str
        How the literature writes it.
    stencil : mapping of int to float
        Weight by offset.
    mirrored : bool
        Which border the *published* window uses: mirrored (``f(c + 1) := f(c)``) or zero.
    """

    name: str
    symbol: str
    stencil: Mapping[int, float]
    mirrored: bool = True

    @property
    def reach(self) -> int:
        """Largest absolute offset."""
        return max(abs(offset) for offset in self.stencil)


IDENTITY = Difference("identity", "1", MappingProxyType({0: 1.0}))
FORWARD = Difference("forward", "δ+", MappingProxyType({1: 1.0, 0: -1.0}))
BACKWARD = Difference("backward", "δ-", MappingProxyType({0: 1.0, -1: -1.0}))
CENTRAL = Difference("central", "δ", MappingProxyType({1: 0.5, -1: -0.5}))
SECOND = Difference("second", "δδ", MappingProxyType({1: 1.0, 0: -2.0, -1: 1.0}), mirrored=False)

THIRD = Difference("third", "δδδ", MappingProxyType({2: 0.5, 1: -1.0, -1: 1.0, -2: -0.5}), mirrored=False)
FOURTH = Difference("fourth", "δδδδ", MappingProxyType({2: 1.0, 1: -4.0, 0: 6.0, -1: -4.0, -2: 1.0}), mirrored=False)
FIFTH = Difference(
    "fifth", "δδδδδ", MappingProxyType({3: 0.5, 2: -2.0, 1: 2.5, -1: -2.5, -2: 2.0, -3: -0.5}), mirrored=False
)
SIXTH = Difference(
    "sixth",
    "δδδδδδ",
    MappingProxyType({3: 1.0, 2: -6.0, 1: 15.0, 0: -20.0, -1: 15.0, -2: -6.0, -3: 1.0}),
    mirrored=False,
)

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
    stencil: dict[int, float] = {}
    for a, wa in first.stencil.items():
        for b, wb in second.stencil.items():
            stencil[a + b] = stencil.get(a + b, 0.0) + wa * wb
    return Difference(
        name="·".join(o.name for o in (first, second) if o is not IDENTITY) or "identity",
        symbol="".join(o.symbol for o in (first, second) if o is not IDENTITY) or "1",
        stencil=MappingProxyType(stencil),
        mirrored=first.mirrored and second.mirrored,
    )


def difference_rows(operator: Difference, size: int, margin: int, window: Window) -> list[list[float]]:
    """Return the rows of :func:`difference_matrix` as plain numbers, without checks.

    Plain numbers may be kept while a model is traced or built on another device; a tensor made there may not.
    """
    rows = [[0.0] * (size + 2 * margin) for _ in range(size)]
    for offset, weight in operator.stencil.items():
        for index, row in enumerate(rows):
            column = index + offset
            if window == "published" and not 0 <= column < size:
                if not operator.mirrored:
                    continue
                column = min(max(column, 0), size - 1)
            row[column + margin] += weight
    return rows


def difference_matrix(operator: Difference, size: int, margin: int, window: Window = "exact") -> Tensor:
    """Return the operator as a matrix from a wide kernel to the ``size`` taps of a window.

    Parameters
    ----------
    operator : Difference
        One of :data:`DIFFERENCES`, or a composition of them.
    size : int
        Number of taps of the window; at least 1.
    margin : int
        How many taps the wide kernel has beyond the window on each side; at least the reach of the operator.
    window : {"exact", "published"}
        Whether differences are taken before cropping to the window (exact), or after it, with the border of the
        published scripts: mirrored for first differences and zero for the second. (Beyond the first tap outside,
        which the scripts do not need, the mirrored border repeats the last one inside.)

    Returns
    -------
    Tensor, shape (size, size + 2 margin), float64

    Raises
    ------
    ModelError
        If the window is unknown, empty, or the margin too small.

    Examples
    --------
    >>> difference_matrix(FORWARD, 3, 1)
    tensor([[ 0., -1.,  1.,  0.,  0.],
            [ 0.,  0., -1.,  1.,  0.],
            [ 0.,  0.,  0., -1.,  1.]], dtype=torch.float64)
    """
    if window not in WINDOWS:
        raise ModelError(f"window must be one of {', '.join(map(repr, WINDOWS))}, got {window!r}")
    if size < 1:
        raise ModelError(f"the window must have at least 1 tap, got {size}")
    if margin < operator.reach:
        raise ModelError(f"operator {operator.name!r} reaches {operator.reach} taps, the margin is only {margin}")
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
    margin = 0 if window == "published" else operator.reach
    size = f.shape[-1] - 2 * margin
    if size < 1:
        raise ModelError(f"operator {operator.name!r} needs at least {2 * margin + 1} taps, got {f.shape[-1]}")
    crop = difference_matrix(operator, size, operator.reach, window)
    crop = crop[:, operator.reach - margin : operator.reach + size + margin]
    return f @ crop.to(f).T


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
