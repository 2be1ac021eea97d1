"""Templates of the families on a window, with exact derivatives in scale.

The semi-discrete heat equation ``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2`` makes every derivative in scale a stencil on
the same kernel. So a profile and its derivatives are one constant matrix applied to ``T(.; t)``.
"""

from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import DIFFERENCES, WINDOWS, Window, difference_rows
from scalekeys.scalespace.families import Family, Term, family
from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.shapes import ArrayLike, as_float_tensor

Order: TypeAlias = Literal[0, 2]
_HEAT_REACH = 2  # two derivatives in t, each a second difference
GAP = 0.05
"""Smallest difference of the two variances of a two-scale family; below it the difference is a Laplacian."""
_DERIVATIVES = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # orders in (t_x, t_y) of K, K_1, K_2, K_11, K_12, K_22


class TemplatePlan:
    """A family on a window of fixed size, ready to be evaluated for many scales at once.

    A plan is validated and built once (see :func:`template_plan`, which caches it); evaluating it runs no checks. It
    holds plain numbers and no tensors, so that one plan serves every device and every trace.

    Parameters
    ----------
    family : Family
        The family to evaluate.
    size : (int, int)
        Rows and columns of the window, both odd.
    window : {"exact", "published"}
        Whether differences are taken before or after cropping to the window.
    common : bool
        Whether both axes share one scale. The parameters are then ``(t, unused)``, and derivatives with respect to the
        second are zero. A family with a sharpening strength has one scale anyway.
    """

    def __init__(self, family: Family, size: tuple[int, int], window: Window, common: bool = False) -> None:
        self.family = family
        self.size = size
        self.window = window
        self.common = common
        self._radius = {axis: n // 2 + _margin(family, axis) for axis, n in zip("yx", size, strict=True)}
        self._operators = {axis: _axis_operators(family, axis, n, window) for axis, n in zip("yx", size, strict=True)}
        self._arrays = {axis: np.array(numbers) for axis, numbers in self._operators.items()}
        centre = (size[0] // 2, size[1] // 2)
        self._fixed = [[family.impulse * ((r, c) == centre) for c in range(size[1])] for r in range(size[0])]

    def operators(self, axis: str) -> np.ndarray:
        """Return the matrices from ``T(-wide .. wide; t)`` to the profiles along an axis and their derivatives in t.

        Shape (3, components, terms, taps, 2 wide + 1); a missing term of a component is zero.
        """
        return self._arrays[axis]

    def __call__(
        self, parameters: Float[Tensor, "filters 2"], max_variance: float | None = None, order: Order = 0
    ) -> Float[Tensor, "filters derivatives components rows cols"]:
        """Evaluate the templates.

        Parameters
        ----------
        parameters : Tensor, shape (filters, 2)
            ``(t_x, t_y)``, or ``(t, alpha)`` for a family with a sharpening strength, or ``(t, d)`` for one with two
            scales t and ``t + GAP + d``, or ``(t, unused)`` with a common scale.
        max_variance : float, optional
            Upper bound of the variances; see :func:`discrete_gaussian`.
        order : {0, 2}
            0: only the template. 2: also its first and second derivatives.

        Returns
        -------
        Tensor, shape (filters, 1 or 6, components, rows, cols)
            ``[K]`` or ``[K, K_1, K_2, K_11, K_12, K_22]``, derivatives with respect to the two parameters.
        """
        if self.family.has_alpha:
            return self._sharpened(parameters, max_variance, order)
        if self.family.two_scales:
            return self._between_scales(parameters, max_variance, order)
        if self.common:
            moving = self._separable(parameters[:, :1], max_variance, order)
            return _along_both_axes(moving) if order else moving
        return self._separable(parameters, max_variance, order)

    def _sharpened(self, parameters: Tensor, max_variance: float | None, order: Order) -> Tensor:
        alpha = parameters[:, 1, None, None, None]
        moving = self._separable(parameters[:, :1], max_variance, order)
        fixed = torch.tensor(self._fixed, dtype=moving.dtype, device=moving.device)
        if order == 0:
            return fixed + alpha[:, None] * moving
        p, dp, zero, ddp, _, _ = _along_both_axes(moving).unbind(1)
        return torch.stack([fixed + alpha * p, alpha * dp, p, alpha * ddp, dp, zero], dim=1)

    def _between_scales(self, parameters: Tensor, max_variance: float | None, order: Order) -> Tensor:
        wide = parameters.sum(-1, keepdim=True) + GAP
        inner = self._separable(parameters[:, :1], max_variance, order)
        outer = self._separable(wide, None if max_variance is None else 2 * max_variance + GAP, order)
        if order == 0:
            return inner - outer
        (k, dk, _, ddk, _, _), (m, dm, _, ddm, _, _) = (_along_both_axes(part).unbind(1) for part in (inner, outer))
        return torch.stack([k - m, dk - dm, -dm, ddk - ddm, -ddm, -ddm], dim=1)

    def _separable(self, variances: Tensor, max_variance: float | None, order: Order) -> Tensor:
        """Components that depend on the scale, and their derivatives, for one variance or one along each axis."""
        pairs = _DERIVATIVES if order else _DERIVATIVES[:1]
        kernels = discrete_gaussian(variances, max(self._radius.values()), max_variance=max_variance)
        x = self._profiles("x", kernels[:, 0])[:, [i for i, _ in pairs]]
        y = self._profiles("y", kernels[:, -1])[:, [j for _, j in pairs]]
        return y.transpose(-1, -2) @ x

    def _profiles(self, axis: str, kernel: Tensor) -> Tensor:
        """Profiles along one axis: shape (filters, derivative in t 0..2, components, terms, taps)."""
        excess = kernel.shape[-1] // 2 - self._radius[axis]
        numbers = self._operators[axis] if torch.compiler.is_compiling() else self._arrays[axis]  # the same, but faster
        operators = torch.tensor(numbers, dtype=kernel.dtype, device=kernel.device)
        kernel = kernel[:, excess : kernel.shape[-1] - excess]
        return (kernel @ operators.flatten(0, 3).T).reshape(kernel.shape[0], *operators.shape[:4])


def _along_both_axes(derivatives: Tensor) -> Tensor:
    """Turn derivatives in ``(t_x, t_y)``, at equal variances, into those in ``(t, unused)``."""
    k, kx, ky, kxx, kxy, kyy = derivatives.unbind(1)
    zero = torch.zeros_like(k)
    return torch.stack([k, kx + ky, zero, kxx + 2 * kxy + kyy, zero, zero], dim=1)


def template_plan(name: str, size: tuple[int, int], window: Window = "exact", *, common: bool = False) -> TemplatePlan:
    """Return the plan of a family on a window, built once for each combination.

    Raises
    ------
    ModelError
        If the family or the window is unknown, or a side of the window is not odd and at least 1.

    Examples
    --------
    >>> template_plan("smooth", (3, 3)).size
    (3, 3)
    """
    if min(size) < 1 or any(n % 2 == 0 for n in size):
        raise ModelError(f"the window must have odd sides, so that it has a central pixel; got {size[0]}x{size[1]}")
    if window not in WINDOWS:
        raise ModelError(f"window must be one of {', '.join(map(repr, WINDOWS))}, got {window!r}")
    build = TemplatePlan if torch.compiler.is_compiling() else _cached_plan  # a trace would see through the cache
    return build(family(name), size, window, common)


_cached_plan = lru_cache(maxsize=1024)(TemplatePlan)


def template(
    name: str,
    sigma: ArrayLike,
    size: int | tuple[int, int] = 7,
    *,
    alpha: ArrayLike | float | None = None,
    window: Window = "exact",
) -> Float[Tensor, "*batch rows cols"]:
    """Evaluate an idealized receptive field, batched over scales.

    Parameters
    ----------
    name : str
        A family, for example ``"dx+"`` or ``"smooth"``.
    sigma : Tensor or array, shape (..., 2)
        Scale parameters ``(sigma_x, sigma_y)``, standard deviations in pixels, at least 0. `sharpen` has one scale
        only and uses ``sigma_x``; for `dog` they are the smaller and the larger scale.
    size : int or (int, int)
        Side, or rows and columns, of the window; odd.
    alpha : Tensor, array or float, shape (...), optional
        Strength of `sharpen`, one number or one for each scale; required there and refused elsewhere.
    window : {"exact", "published"}
        Whether differences are taken before cropping to the window (exact), or after it (published).

    Returns
    -------
    Tensor, shape (..., rows, cols)
        The receptive fields; differentiable in `sigma` and `alpha`.

    Raises
    ------
    ModelError
        If the family is unknown or a jet, the size even, `sigma` negative or not finite (which is not checked while
        tracing), or `alpha` missing, out of place or of another shape.

    Examples
    --------
    >>> template("dx", torch.tensor([0.0, 0.0]), 3)
    tensor([[ 0.0000,  0.0000,  0.0000],
            [ 0.5000,  0.0000, -0.5000],
            [ 0.0000,  0.0000,  0.0000]])
    """
    plan = template_plan(name, (size, size) if isinstance(size, int) else size, window)
    scales = as_float_tensor(sigma)
    if scales.ndim == 0 or scales.shape[-1] != 2:
        raise ModelError(f"sigma must end in an axis (sigma_x, sigma_y) of length 2, got shape {tuple(scales.shape)}")
    if plan.family.is_jet:
        raise ModelError(f"{name!r} is a mixture of {len(plan.family.components)} templates and none by itself")
    if plan.family.has_alpha == (alpha is None):
        raise ModelError(f"family {name!r} {'needs' if alpha is None else 'takes no'} alpha")
    parameters = _parameters(scales, alpha)
    if plan.family.two_scales:
        parameters = torch.stack([parameters[..., 0], parameters[..., 1] - parameters[..., 0] - GAP], dim=-1)
    return plan(parameters.reshape(-1, 2))[:, 0, 0].reshape(*scales.shape[:-1], *plan.size)


def _parameters(sigma: Tensor, alpha: ArrayLike | float | None) -> Tensor:
    """Return what a plan takes, ``(t_x, t_y)`` or ``(t, alpha)``, and refuse scales and strengths without a meaning."""
    scales = sigma if alpha is None else sigma[..., :1]
    if not torch.compiler.is_compiling() and not bool(((scales >= 0) & scales.isfinite()).all()):
        low, high = (float(v) for v in torch.aminmax(scales.detach()))
        raise ModelError(f"sigma is a standard deviation and must be finite and at least 0; got [{low}, {high}]")
    if alpha is None:
        return sigma.square()
    numbers = as_float_tensor(alpha) if isinstance(alpha, np.ndarray) else alpha
    strength = torch.as_tensor(numbers, dtype=sigma.dtype, device=sigma.device)
    if strength.ndim and strength.shape != sigma.shape[:-1]:
        shapes = f"{tuple(strength.shape)} for sigma of shape {tuple(sigma.shape)}"
        raise ModelError(f"alpha must be one number or have the shape of sigma without its last axis, got {shapes}")
    return torch.stack([sigma[..., 0].square(), strength.expand(sigma.shape[:-1])], dim=-1)


def _axis_operators(family: Family, axis: str, size: int, window: Window) -> list[list[list[list[list[float]]]]]:
    """Matrices from T to the profiles of the terms and their derivatives in t.

    Shape (3, components, terms, taps, wide); a component of fewer terms than another is filled with zeros. Term weights
    are folded into x.
    """
    margin = _margin(family, axis)
    most = max(len(component) for component in family.components)
    blank = [[0.0] * (size + 2 * margin) for _ in range(size)]
    operators: list[list[list[list[list[float]]]]] = [[], [], []]
    for component in family.components:
        matrices = [_term_rows(term, axis, size, margin, window) for term in component]
        matrices += [blank] * (most - len(component))
        for derivative in operators:
            derivative.append(matrices)
            matrices = [[_heat(row) for row in rows] for rows in matrices]
    return operators


def _term_rows(term: Term, axis: str, size: int, margin: int, window: Window) -> list[list[float]]:
    weight = term.weight if axis == "x" else 1.0
    rows = difference_rows(DIFFERENCES[getattr(term, axis)], size, margin, window)
    return [[weight * value for value in row] for row in (rows[::-1] if axis == "y" else rows)]


def _heat(row: list[float]) -> list[float]:
    """Return half the second difference, with zeros outside: what a derivative in t makes of a row of weights on T."""
    padded = [0.0, *row, 0.0]
    return [(padded[i - 1] + padded[i + 1]) / 2 - padded[i] for i in range(1, len(row) + 1)]


def _margin(family: Family, axis: str) -> int:
    return max(DIFFERENCES[getattr(term, axis)].reach for term in family.terms) + _HEAT_REACH
