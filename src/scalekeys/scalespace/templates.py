"""Receptive fields of the families on a window, at finite and at infinite scales."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import DIFFERENCES, IDENTITY, Window, check_window, difference_rows
from scalekeys.scalespace.families import IMPULSE, Family, family
from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.scalespace.limits import expansion, limit_template
from scalekeys.scalespace.oriented import oriented_fields
from scalekeys.scalespace.parametrizations import Oriented
from scalekeys.shapes import ArrayLike, as_float_tensor

Size = tuple[int, ...]


class TemplatePlan:
    """A family on a window of fixed size, ready to be evaluated for many parameters at once.

    A plan is validated and built once (see :func:`template_plan`, which caches it); evaluating it runs no checks. It
    holds plain numbers and no tensors, so that one plan serves every device and every trace.

    Parameters
    ----------
    family : Family
        The family to evaluate.
    size : tuple of int
        Sides of the window in the order of the array, (cols,), (rows, cols) or (slices, rows, cols).
    window : {"exact", "published"}
        Whether differences are taken before or after cropping to the window.
    """

    def __init__(self, family: Family, size: Size, window: Window) -> None:
        self.family, self.size, self.window = family, size, window
        sides = size[::-1]  # in the order of the axes
        self._operators = [
            sorted({term.operators[axis] for term in family.terms}, key=[*DIFFERENCES, IMPULSE].index)
            for axis in range(family.axes)
        ]
        self._radii = [
            side // 2 + profile_margin(names, side) for names, side in zip(self._operators, sides, strict=True)
        ]
        self._rows = [
            [profile_rows(name, side, radius, axis, window) for name in names]
            for axis, (names, side, radius) in enumerate(zip(self._operators, sides, self._radii, strict=True))
        ]

    def __call__(
        self, parameters: Float[Tensor, "filters parameters"], max_variance: float | None = None
    ) -> Float[Tensor, "filters components ..."]:
        """Evaluate the templates.

        Parameters
        ----------
        parameters : Tensor, shape (filters, parameters)
            As the parametrization of the family names them; finite.
        max_variance : float, optional
            Upper bound of the variances; see :func:`discrete_gaussian`.

        Returns
        -------
        Tensor, shape (filters, components, *size)
            One component for each coefficient of a model: the receptive field, or the derivatives of a jet.
        """
        if isinstance(self.family.parametrization, Oriented):
            return oriented_fields(parameters, self.family.parametrization, self.size)[:, None]
        variances = self.family.parametrization.component_variances(parameters)
        weights = self.family.parametrization.component_weights(parameters)
        kernels = discrete_gaussian(variances, max(self._radii), max_variance=max_variance)
        profiles = [self._profiles(axis, kernels[:, :, axis]) for axis in range(self.family.axes)]
        components = []
        for number, component in enumerate(self.family.components):
            which = min(number, variances.shape[1] - 1)
            total = None
            for term in component:
                places = [names.index(name) for names, name in zip(self._operators, term.operators, strict=True)]
                field = _outer([own[:, which, place] for own, place in zip(profiles, places, strict=True)])
                field = field if term.weight == 1.0 else term.weight * field
                total = field if total is None else total + field
            components.append(total)
        fields = torch.stack(components, dim=1)  # type: ignore[arg-type]
        if weights is None:
            return fields
        return (fields * weights.reshape(*weights.shape, *(1 for _ in self.size))).sum(1, keepdim=True)

    def _profiles(self, axis: int, kernel: Tensor) -> Tensor:
        """Profiles of all operators along one axis, shape (filters, variances, operators, taps)."""
        excess = kernel.shape[-1] // 2 - self._radii[axis]
        rows = torch.tensor(self._rows[axis], dtype=kernel.dtype, device=kernel.device)
        impulse = rows[..., -1]
        kernel = kernel[..., excess : kernel.shape[-1] - excess]
        profiles: Tensor = (kernel @ rows[..., :-1].flatten(0, 1).T).unflatten(-1, rows.shape[:2])
        return profiles + impulse

    def expanded(self, operator: str, axis: int, t: Tensor) -> Tensor:
        """Return the profile of an operator at one variance, shape (1, taps), or the terms of its series in 1 / t.

        The series, of shape (terms, taps), is that of ``sqrt(2 pi t)`` times the profile at an infinite variance.
        """
        rows = torch.tensor(self._rows[axis][self._operators[axis].index(operator)], dtype=torch.float64)
        kernel = expansion(self._radii[axis]) if torch.isinf(t) else discrete_gaussian(t[None], self._radii[axis])
        return kernel @ rows[:, :-1].T


def profile_rows(name: str, side: int, radius: int, axis: int, window: Window) -> list[list[float]]:
    """Return the rows that make a profile from ``T(-radius .. radius)``, and from a constant 1 after it.

    The unit impulse does not depend on T, and has its numbers in the last column. Along y, which points up, taps run
    from the largest coordinate to the smallest.
    """
    operator = IDENTITY if name == IMPULSE else DIFFERENCES[name]
    rows = difference_rows(operator, side, radius - side // 2, window)
    impulse = name == IMPULSE
    rows = [[*([0.0] * len(row) if impulse else row), row[radius] if impulse else 0.0] for row in rows]
    return rows[::-1] if axis == 1 else rows


def profile_margin(names: Sequence[str], side: int) -> int:
    """Return how many taps of T the profiles of some operators need beyond the ends of a window."""
    return max((IDENTITY if name == IMPULSE else DIFFERENCES[name]).margin(side) for name in names)


def _outer(profiles: Sequence[Tensor]) -> Tensor:
    """Outer product of profiles (n, taps) in the order of the axes: shape (n, *size)."""
    field = profiles[0]
    for profile in profiles[1:]:
        field = profile.reshape(*profile.shape, *(1,) * (field.ndim - 1)) * field[:, None]
    return field


def template_plan(name: str, size: Sequence[int], window: Window = "exact") -> TemplatePlan:
    """Return the plan of a family on a window, built once for each combination.

    Raises
    ------
    ModelError
        If the family or the window is unknown, a side is less than 1, or an even side has no published window.

    Examples
    --------
    >>> template_plan("smooth", (3, 4)).size
    (3, 4)
    """
    sides = tuple(size)
    if min(sides) < 1:
        raise ModelError(f"the sides of a window must be at least 1, got {'x'.join(map(str, sides))}")
    check_window(window, sides)
    build = TemplatePlan if torch.compiler.is_compiling() else _cached_plan  # a trace would see through the cache
    return build(family(name, len(sides)), sides, window)


_cached_plan = lru_cache(maxsize=1024)(TemplatePlan)


def template(
    name: str,
    sigma: ArrayLike,
    size: int | Sequence[int] = 7,
    *,
    alpha: ArrayLike | float | None = None,
    window: Window = "exact",
) -> Float[Tensor, "..."]:
    """Evaluate an idealized receptive field, batched over scales.

    Parameters
    ----------
    name : str
        A family, for example ``"dx+"`` or ``"smooth"``.
    sigma : Tensor or array, shape (..., D)
        Scale parameters of the axes in the order (x, y, z), standard deviations in pixels, at least 0; infinity is a
        scale as well. `sharpen` has one scale only and uses the first; for `dog` there are two, the smaller and the
        larger one, whatever the number of axes.
    size : int or sequence of int
        Sides of the window in the order of the array: (cols,), (rows, cols) or (slices, rows, cols), odd or even. One
        number means a square of two axes.
    alpha : Tensor, array or float, shape (...), optional
        Strength of `sharpen`, one number or one for each scale; required there and refused elsewhere.
    window : {"exact", "published"}
        Whether differences are taken before cropping to the window (exact), or after it (published).

    Returns
    -------
    Tensor, shape (..., *size)
        The receptive fields; differentiable in `sigma` and `alpha`. A field with an infinite scale would vanish in the
        window. Its limit up to a factor and an offset is returned: of mean 0 and norm 1.

    Raises
    ------
    ModelError
        If the family is unknown or a mixture, `sigma` is negative or NaN (which is not checked while tracing) or has
        another number of scales, or `alpha` is missing, out of place or of another shape.

    Examples
    --------
    >>> template("dx", torch.tensor([0.5, 0.5]), 3)
    tensor([[ 0.0385,  0.0000, -0.0385],
            [ 0.3104,  0.0000, -0.3104],
            [ 0.0385,  0.0000, -0.0385]])

    At an infinite scale a smoothing is a parabola:

    >>> template("smooth", torch.tensor([torch.inf]), (5,))
    tensor([-0.5345,  0.2673,  0.5345,  0.2673, -0.5345])
    """
    plan = template_plan(name, (size, size) if isinstance(size, int) else size, window)
    scales = as_float_tensor(sigma)
    if isinstance(plan.family.parametrization, Oriented):
        raise ModelError(f"{name!r} has an angle beside its scales: use oriented_template")
    count = 2 if name == "dog" else plan.family.axes
    if scales.ndim == 0 or scales.shape[-1] != count:
        words = {1: "(sigma_x)", 2: "(sigma_x, sigma_y)", 3: "(sigma_x, sigma_y, sigma_z)"}[count]
        raise ModelError(f"sigma must end in an axis {words} of length {count}, got shape {tuple(scales.shape)}")
    if plan.family.mixed:
        raise ModelError(f"{name!r} is a mixture of {len(plan.family.components)} templates and none by itself")
    strengthened = "alpha" in plan.family.parametrization.names
    if strengthened == (alpha is None):
        raise ModelError(f"family {name!r} {'needs' if alpha is None else 'takes no'} alpha")
    parameters = _parameters(scales[..., :1] if strengthened else scales, alpha)
    flat = parameters.reshape(-1, parameters.shape[-1])
    if not torch.compiler.is_compiling() and bool(torch.isinf(flat).any()):
        fields = limit_template(plan, flat)
    else:
        fields = plan(flat)[:, 0]
    return fields.reshape(*scales.shape[:-1], *plan.size)


def _parameters(sigma: Tensor, alpha: ArrayLike | float | None) -> Tensor:
    """Return what a plan takes, variances and a strength, and refuse scales and strengths without a meaning."""
    if not torch.compiler.is_compiling() and not bool((sigma >= 0).all()):
        low, high = (float(v) for v in torch.aminmax(sigma.detach()))
        raise ModelError(f"sigma is a standard deviation and must be at least 0; got [{low}, {high}]")
    if alpha is None:
        return sigma.square()
    numbers = as_float_tensor(alpha) if isinstance(alpha, np.ndarray) else alpha
    strength = torch.as_tensor(numbers, dtype=sigma.dtype, device=sigma.device)
    if strength.ndim and strength.shape != sigma.shape[:-1]:
        shapes = f"{tuple(strength.shape)} for sigma of shape {tuple(sigma.shape)}"
        raise ModelError(f"alpha must be one number or have the shape of sigma without its last axis, got {shapes}")
    return torch.stack([sigma[..., 0].square(), strength.expand(sigma.shape[:-1])], dim=-1)
