"""Receptive fields of the families on a window, at finite and at infinite scales."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import DIFFERENCES, Window, check_window
from scalekeys.scalespace.discretizations import Discretization, check_discretization
from scalekeys.scalespace.families import IMPULSE, Family, family
from scalekeys.scalespace.gaussian_derivatives import is_direct
from scalekeys.scalespace.limits import limit_template
from scalekeys.scalespace.oriented import oriented_fields
from scalekeys.scalespace.parametrizations import Oriented
from scalekeys.scalespace.profiles import Profiles
from scalekeys.shapes import ArrayLike, as_float_tensor, size_text

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
        self._operators = [
            sorted({term.operators[axis] for term in family.terms}, key=[*DIFFERENCES, IMPULSE].index)
            for axis in range(family.axes)
        ]
        self._along = Profiles(self._operators, size[::-1], window, family.discretization)

    def __call__(
        self, parameters: Float[Tensor, "filters parameters"], max_variance: float | None = None
    ) -> Float[Tensor, "filters components ..."]:
        """Evaluate the templates.

        `parameters`: shape (filters, parameters); as the parametrization of the family names them; finite.
        `max_variance`: upper bound of the variances; see :func:`discrete_gaussian`.
        Returns a tensor of shape (filters, components, *size): one component for each coefficient of a model: the
        receptive field, or the derivatives of a jet.
        """
        if isinstance(self.family.parametrization, Oriented):
            return oriented_fields(parameters, self.family.parametrization, self.size)[:, None]
        variances = self.family.parametrization.component_variances(parameters)
        weights = self.family.parametrization.component_weights(parameters)
        atoms = self._along.values(variances, max_variance)
        profiles = [self._profiles(axis, atoms[:, :, axis]) for axis in range(self.family.axes)]
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

    def _profiles(self, axis: int, atoms: Tensor) -> Tensor:
        """Profiles of all operators along one axis, shape (filters, variances, operators, taps)."""
        rows = torch.tensor(self._along.rows[axis], dtype=atoms.dtype, device=atoms.device)
        impulse, atoms = rows[..., -1], self._along.along(axis, atoms)
        profiles: Tensor = (atoms @ rows[..., :-1].flatten(0, 1).T).unflatten(-1, rows.shape[:2])
        return profiles + impulse

    def expanded(self, operator: str, axis: int, t: Tensor) -> Tensor:
        """Return the profile of an operator at one variance, shape (1, taps), or the terms of its series in 1 / t.

        The series, of shape (terms, taps), is that of ``sqrt(2 pi t)`` times the profile at an infinite variance.
        """
        rows = torch.tensor(self._along.rows[axis][self._operators[axis].index(operator)], dtype=torch.float64)
        atoms = self._along.expansion() if torch.isinf(t) else self._along.values(t[None])
        return self._along.along(axis, atoms) @ rows[:, :-1].T


def _outer(profiles: Sequence[Tensor]) -> Tensor:
    """Outer product of profiles (n, taps) in the order of the axes: shape (n, *size)."""
    field = profiles[0]
    for profile in profiles[1:]:
        field = profile.reshape(*profile.shape, *(1,) * (field.ndim - 1)) * field[:, None]
    return field


def template_plan(
    name: str, size: Sequence[int], window: Window = "exact", discretization: Discretization = "discrete"
) -> TemplatePlan:
    """Return the plan of a family on a window, built once for each combination.

    Raises
    ------
    ModelError
        If the family, the window or the discretization is unknown, a side is less than 1, an even side has no published
        window, or a window or family goes with the discrete analogue of the Gaussian only.

    Examples
    --------
    >>> template_plan("smooth", (3, 4)).size
    (3, 4)
    """
    sides = tuple(size)
    if min(sides) < 1:
        raise ModelError(f"the sides of a window must be at least 1, got {size_text(sides)}")
    check_window(window, sides)
    build = TemplatePlan if torch.compiler.is_compiling() else _cached_plan  # a trace would see through the cache
    own = family(name, len(sides))
    if discretization != "discrete":
        check_discretization(discretization)
        if isinstance(own.parametrization, Oriented):
            raise ModelError(f"{name!r} has a form for discretization='discrete' only, got {discretization!r}")
        own = replace(own, discretization=discretization)
    return build(own, sides, window)


_cached_plan = lru_cache(maxsize=1024)(TemplatePlan)


def template(
    name: str,
    sigma: ArrayLike,
    size: int | Sequence[int] = 7,
    *,
    alpha: ArrayLike | float | None = None,
    window: Window = "exact",
    discretization: Discretization = "discrete",
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
    discretization : str
        How the derivatives of the Gaussian are discretized, see :func:`gaussian_derivative`. With sampled and
        integrated derivatives `sigma` is above 0.

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
    plan = template_plan(name, (size, size) if isinstance(size, int) else size, window, discretization)
    scales = as_float_tensor(sigma)
    if isinstance(plan.family.parametrization, Oriented):
        raise ModelError(f"{name!r} has an angle beside its scales: use template_plan")
    count = 2 if "t_outer" in plan.family.parameters else plan.family.axes
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
    if is_direct(discretization) and not torch.compiler.is_compiling() and bool((scales == 0).any()):
        raise ModelError(
            f"discretization {discretization!r} has no template at sigma = 0, where its kernels degenerate"
        )
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
