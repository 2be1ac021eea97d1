r"""Parameters of families of receptive fields: names, bounds, search coordinates, and scales.

A parametrization turns a few parameters into the variance of each axis of each component and, where components are not
weighted freely, into their weights. A search runs in compact coordinates: a variance t has the coordinate
:math:`u = t / (c + t)`, so an infinite scale is the ordinary end point u = 1.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.scalespace.second_order import composed, entries

INFINITE = 1 - 1e-8
"""Coordinate at which a search for infinite scales ends: the window shows no difference to u = 1."""

STRENGTH_MAX = 10.0
"""Largest strength of `sharpen`; beyond it the template is a pure Laplacian to within a percent."""

GAP = 0.05
"""Smallest difference of the two variances of a two-scale family; below it the difference is a Laplacian."""


def place_of(t: Tensor, bend: float) -> Tensor:
    """Return the search coordinate ``u = t / (bend + t)`` of a variance; 1 for an infinite one."""
    return torch.where(torch.isinf(t), 1.0, t / (bend + t))


def variance_at(u: Tensor, bend: float) -> Tensor:
    """Return the variance ``t = bend u / (1 - u)`` at a search coordinate."""
    return bend * u / (1 - u)


class Parametrization(ABC):
    """The parameters of a family on D axes.

    Attributes
    ----------
    axes : int
        How many axes the family has.
    names : tuple of str
        The parameters in order, as numbers in physical units: variances in pixels squared, strengths, angles.
    """

    axes: int
    names: tuple[str, ...]
    groups: tuple[int, ...] | None = None
    """Which parameter is the variance of each axis, where that is one and the same for all components; else None."""

    periodic: tuple[str, ...] = ()
    """Which parameters mean the same at both ends of their search, which are no bounds."""

    coarseness: float = 1.0
    """How much wider than usual the steps of the first grid of a search may be."""

    experience: float | None = None
    """How far below the best of the first grid a start can be and still win, where it is known by experience alone."""

    @abstractmethod
    def bounds(self, bend: float, limit: float, start: float = 0.0) -> tuple[list[float], list[float]]:
        """Return the ends of the search in its coordinates; those of a scale are `start` and `limit`."""

    def coordinates(self, parameters: Tensor, bend: float) -> Tensor:
        """Return the search coordinates of parameters, both of shape (parameters, n)."""
        return place_of(parameters, bend)

    def parameters(self, coordinates: Tensor, bend: float) -> Tensor:
        """Return the parameters at search coordinates, both of shape (parameters, n)."""
        return variance_at(coordinates, bend)

    @abstractmethod
    def places(self, coordinates: Tensor, bend: float) -> Tensor:
        """Return the coordinates of the variances of components, with derivatives in the search coordinates.

        Shape (entries, components or 1, axes, n); see :mod:`scalekeys.scalespace.second_order`.
        """

    def weights(self, coordinates: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return the weights of components, shape (entries, components, n); None where they are free."""
        return None

    def own_weights(self, coordinates: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return weights of components that depend on the last parameter alone, if they do: (3, components, n).

        With two derivatives in its coordinate. The variances then do not depend on that parameter.
        """
        return None

    @abstractmethod
    def component_variances(self, parameters: Tensor) -> Tensor:
        """Return the variance of each axis of each component, shape (n, components or 1, axes), differentiable.

        Parameters
        ----------
        parameters : Tensor, shape (n, parameters)
        """

    def component_weights(self, parameters: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return the weights of components, shape (n, components); None where they are free."""
        return None

    def axis_variances(self, parameters: Tensor) -> Tensor:
        """Return the variance along each axis in the order (x, y, z), shape (n, axes), from (n, parameters)."""
        return self.component_variances(parameters)[:, 0]

    def columns(self, parameters: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return what a table gets beside the scale of each axis: numbers by the name of their column, shape (n,)."""
        return {}


@dataclass(frozen=True)
class AxisScales(Parametrization):
    """A variance for each axis, or one that axes share.

    Parameters
    ----------
    groups : tuple of int
        The number of the parameter of each axis, in the order (x, y, z).

    Examples
    --------
    >>> AxisScales((0, 1)).names, AxisScales((0, 0)).names
    (('tx', 'ty'), ('t',))
    """

    groups: tuple[int, ...]

    @property
    def axes(self) -> int:  # type: ignore[override]
        """How many axes the family has."""
        return len(self.groups)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """One variance for each axis, or one for all."""
        if self.axes > 1 and set(self.groups) == {0}:
            return ("t",)
        letters = [
            "".join(a for a, group in zip("xyz", self.groups, strict=False) if group == k) for k in set(self.groups)
        ]
        return tuple(f"t{own}" for own in letters)

    def bounds(self, bend: float, limit: float, start: float = 0.0) -> tuple[list[float], list[float]]:  # noqa: ARG002
        """Return the ends of the search."""
        count = len(self.names)
        return [start] * count, [limit] * count

    def places(self, coordinates: Tensor, bend: float) -> Tensor:  # noqa: ARG002
        """Return the coordinates themselves, one for each axis."""
        count = len(coordinates)
        table = coordinates.new_zeros(entries(count), 1, self.axes, coordinates.shape[1])
        for axis, group in enumerate(self.groups):
            table[0, 0, axis] = coordinates[group]
            table[1 + group, 0, axis] = 1.0
        return table

    def component_variances(self, parameters: Tensor) -> Tensor:
        """Return the variance of each axis."""
        return torch.stack([parameters[:, group] for group in self.groups], dim=-1)[:, None]


@dataclass(frozen=True)
class Strengthened(Parametrization):
    """One variance for all axes, and the strength of the second of two components relative to the first."""

    axes: int
    names = ("t", "alpha")

    @property
    def groups(self) -> tuple[int, ...]:  # type: ignore[override]
        """The one variance, for every axis."""
        return (0,) * self.axes

    def bounds(self, bend: float, limit: float, start: float = 0.0) -> tuple[list[float], list[float]]:  # noqa: ARG002
        """Return the ends of the search."""
        return [start, 0.0], [limit, math.log1p(STRENGTH_MAX)]

    def coordinates(self, parameters: Tensor, bend: float) -> Tensor:
        """Return the coordinate of the variance, and ``log(1 + alpha)``."""
        return torch.stack([place_of(parameters[0], bend), torch.log1p(parameters[1])])

    def parameters(self, coordinates: Tensor, bend: float) -> Tensor:
        """Return variance and strength."""
        strength = torch.expm1(coordinates[1]).clamp(max=STRENGTH_MAX)
        return torch.stack([variance_at(coordinates[0], bend), strength])

    def places(self, coordinates: Tensor, bend: float) -> Tensor:  # noqa: ARG002
        """Return the coordinate of the variance, for every axis."""
        table = coordinates.new_zeros(entries(2), 1, self.axes, coordinates.shape[1])
        table[0], table[1] = coordinates[0], 1.0
        return table

    def weights(self, coordinates: Tensor) -> Tensor:
        """Return 1 and the strength."""
        own = self.own_weights(coordinates)
        table = own.new_zeros(entries(2), *own.shape[1:])
        table[0], table[2], table[5] = own
        return table

    def own_weights(self, coordinates: Tensor) -> Tensor:
        """Return 1 and the strength."""
        grown = torch.exp(coordinates[1])
        table = coordinates.new_zeros(3, 2, coordinates.shape[1])
        table[0, 0], table[0, 1] = 1.0, grown - 1
        table[1, 1] = table[2, 1] = grown
        return table

    def component_variances(self, parameters: Tensor) -> Tensor:
        """Return the variance, for every axis."""
        return parameters[:, :1, None].expand(-1, -1, self.axes)

    def component_weights(self, parameters: Tensor) -> Tensor:
        """Return 1 and the strength."""
        return torch.stack([torch.ones_like(parameters[:, 1]), parameters[:, 1]], dim=-1)

    def columns(self, parameters: Tensor) -> dict[str, Tensor]:
        """Return the strength."""
        return {"alpha": parameters[:, 1]}


@dataclass(frozen=True)
class TwoScales(Parametrization):
    """The first of two components at one variance, minus the second at a larger one, each for all axes."""

    axes: int
    names = ("t_inner", "t_outer")

    def bounds(self, bend: float, limit: float, start: float = 0.0) -> tuple[list[float], list[float]]:  # noqa: ARG002
        """Return the ends of the search."""
        return [start, 0.0], [limit, limit]

    def coordinates(self, parameters: Tensor, bend: float) -> Tensor:
        """Return the coordinates of the inner variance and of what the outer one exceeds the smallest gap by."""
        inner, outer_ = parameters
        return place_of(torch.stack([inner, (outer_ - inner - GAP).clamp(min=0)]), bend)

    def parameters(self, coordinates: Tensor, bend: float) -> Tensor:
        """Return both variances."""
        inner, more = variance_at(coordinates, bend)
        return torch.stack([inner, inner + GAP + more])

    def places(self, coordinates: Tensor, bend: float) -> Tensor:
        """Return the coordinates of both variances."""
        inner, more = coordinates
        table = coordinates.new_zeros(entries(2), 2, 1, coordinates.shape[1])
        table[0, 0, 0], table[1, 0, 0] = inner, 1.0
        t = coordinates.new_zeros(entries(2), coordinates.shape[1])
        t[0] = variance_at(inner, bend) + GAP + variance_at(more, bend)
        t[1], t[2] = (bend / (1 - u) ** 2 for u in (inner, more))
        t[3], t[5] = (2 * bend / (1 - u) ** 3 for u in (inner, more))
        rest = bend + t[0]
        table[:, 1, 0] = composed(t, t[0] / rest, bend / rest**2, -2 * bend / rest**3, 2)
        return table.expand(-1, -1, self.axes, -1)

    def weights(self, coordinates: Tensor) -> Tensor:
        """Return 1 and -1."""
        table = coordinates.new_zeros(entries(2), 2, coordinates.shape[1])
        table[0, 0], table[0, 1] = 1.0, -1.0
        return table

    def component_variances(self, parameters: Tensor) -> Tensor:
        """Return both variances."""
        return parameters[:, :2, None].expand(-1, -1, self.axes)

    def component_weights(self, parameters: Tensor) -> Tensor:
        """Return 1 and -1."""
        return parameters.new_tensor([1.0, -1.0]).expand(len(parameters), 2)

    def columns(self, parameters: Tensor) -> dict[str, Tensor]:
        """Return the larger scale, as a standard deviation."""
        return {"sigma_outer": parameters[:, 1].sqrt()}


def per_axis(axes: int) -> AxisScales:
    """Return the parametrization with a variance for each axis."""
    return AxisScales(tuple(range(axes)))


def common(axes: int) -> AxisScales:
    """Return the parametrization with one variance for all axes."""
    return AxisScales((0,) * axes)


@dataclass(frozen=True)
class Oriented(Parametrization):
    r"""Variances along an angle and across it, on two axes, of a positive discrete affine kernel.

    `order`: order of differentiation along the angle: 0, 1 or 2.

    With the covariance :math:`C = R(\phi)\, \mathrm{diag}(t_u, t_v)\, R(\phi)^T` and :math:`Q = |C_{xy}|`, the kernel
    of semi-discrete affine diffusion is the convolution of three discrete analogues of the Gaussian: along x with
    variance :math:`C_{xx} - |C_{xy}|`, along y with :math:`C_{yy} - |C_{xy}|`, and along the diagonal, or the other
    one where :math:`C_{xy} < 0`, with :math:`|C_{xy}|`. It is positive where none of these is negative, which bounds
    the eccentricity: with the mean variance m and :math:`t_{u,v} = m (1 \pm e)`, :math:`|e| \le 1 / (|\cos 2 \phi| +
    |\sin 2 \phi|)`. The search runs in m, in e relative to this bound, and in :math:`\phi` from 0 to :math:`\pi`.

    T. Lindeberg, "Discrete approximations of affine Gaussian receptive fields", arXiv 1701.02127, 2017.
    """

    order: int
    axes = 2
    names = ("t_along", "t_across", "angle")
    periodic = ("angle",)
    coarseness = 3.0  # a grid of three parameters as fine as one of two would have a hundred thousand nodes
    experience = 0.01

    def bounds(self, bend: float, limit: float, start: float = 0.0) -> tuple[list[float], list[float]]:  # noqa: ARG002
        """Return the ends of the search."""
        # A smoothing is the same along the other axis of its ellipse: there, it is longer along its angle.
        return [0.0, -1.0 if self.order else 0.0, 0.0], [limit, 1.0, math.pi]

    def coordinates(self, parameters: Tensor, bend: float) -> Tensor:
        """Return the coordinates of the mean variance, of the eccentricity, and the angle."""
        along, across, angle = parameters
        mean = (along + across) / 2
        eccentricity = torch.where(mean > 0, (along - across) / (2 * mean).clamp(min=1e-300), 0.0)
        return torch.stack([place_of(mean, bend), eccentricity * _slant(angle), angle])

    def parameters(self, coordinates: Tensor, bend: float) -> Tensor:
        """Return both variances and the angle."""
        mean, eccentricity = variance_at(coordinates[0], bend), coordinates[1] / _slant(coordinates[2])
        return torch.stack([mean * (1 + eccentricity), mean * (1 - eccentricity), coordinates[2]])

    def places(self, coordinates: Tensor, bend: float) -> Tensor:
        """Refuse: the components are no outer products of profiles."""
        raise NotImplementedError("an oriented kernel is no outer product of profiles along the axes")

    def component_variances(self, parameters: Tensor) -> Tensor:
        """Return the variances along x and y, ``C_xx`` and ``C_yy``."""
        along, across, angle = parameters.unbind(-1)
        mean, half = (along + across) / 2, (along - across) / 2 * torch.cos(2 * angle)
        return torch.stack([mean + half, mean - half], dim=-1)[:, None]

    def mixed_variance(self, parameters: Tensor) -> Tensor:
        """Return ``C_xy``, shape (n,)."""
        along, across, angle = parameters.unbind(-1)
        return (along - across) / 2 * torch.sin(2 * angle)

    def columns(self, parameters: Tensor) -> dict[str, Tensor]:
        """Return the angle, and the scales along it and across it, as standard deviations."""
        return {
            "angle": parameters[:, 2],
            "sigma_along": parameters[:, 0].clamp(min=0).sqrt(),
            "sigma_across": parameters[:, 1].clamp(min=0).sqrt(),
        }


def _slant(angle: Tensor) -> Tensor:
    return torch.cos(2 * angle).abs() + torch.sin(2 * angle).abs()
