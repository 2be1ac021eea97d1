"""Templates of the families on a window, with exact derivatives in scale.

The semi-discrete heat equation ``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2`` makes every derivative in scale a stencil on
the same kernel. So a profile and its derivatives are one constant matrix applied to ``T(.; t)``.
"""

from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import DIFFERENCES, WINDOWS, Window, difference_matrix
from scalekeys.scalespace.families import Family, family
from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.shapes import ArrayLike, as_float_tensor

Order: TypeAlias = Literal[0, 2]
_HEAT_REACH = 2  # two derivatives in t, each a second difference
_DERIVATIVES = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # orders in (t_x, t_y) of K, K_1, K_2, K_11, K_12, K_22


class TemplatePlan:
    """A family on a window of fixed size, ready to be evaluated for many scales at once.

    A plan is validated and built once (see :func:`template_plan`, which caches it); evaluating it runs no checks.

    Parameters
    ----------
    family : Family
        The family to evaluate.
    size : (int, int)
        Rows and columns of the window, both odd.
    window : {"exact", "published"}
        Whether differences are taken before or after cropping to the window.
    """

    def __init__(self, family: Family, size: tuple[int, int], window: Window) -> None:
        self.family = family
        self.size = size
        self.window = window
        self._radius = {axis: n // 2 + _margin(family, axis) for axis, n in zip("yx", size, strict=True)}
        self._operators = {axis: _axis_operators(family, axis, n, window) for axis, n in zip("yx", size, strict=True)}
        self._fixed = torch.zeros(size, dtype=torch.float64)
        self._fixed[size[0] // 2, size[1] // 2] = family.impulse

    def __call__(
        self, parameters: Float[Tensor, "filters 2"], max_variance: float | None = None, order: Order = 0
    ) -> Float[Tensor, "filters derivatives rows cols"]:
        """Evaluate the templates.

        Parameters
        ----------
        parameters : Tensor, shape (filters, 2)
            ``(t_x, t_y)``, or ``(t, alpha)`` for a family with a sharpening strength.
        max_variance : float, optional
            Upper bound of the variances; see :func:`discrete_gaussian`.
        order : {0, 2}
            0: only the template. 2: also its first and second derivatives.

        Returns
        -------
        Tensor, shape (filters, 1 or 6, rows, cols)
            ``[K]`` or ``[K, K_1, K_2, K_11, K_12, K_22]``, derivatives with respect to the two parameters.
        """
        if not self.family.has_alpha:
            return self._separable(parameters[:, 0], parameters[:, 1], max_variance, order)
        t, alpha = parameters[:, 0], parameters[:, 1, None, None]
        moving = self._separable(t, t, max_variance, order)
        fixed = self._fixed.to(moving)
        if order == 0:
            return fixed + alpha[:, None] * moving
        p, px, py, pxx, pxy, pyy = moving.unbind(1)
        dp, ddp = px + py, pxx + 2 * pxy + pyy
        return torch.stack([fixed + alpha * p, alpha * dp, p, alpha * ddp, dp, torch.zeros_like(p)], dim=1)

    def _separable(self, tx: Tensor, ty: Tensor, max_variance: float | None, order: Order) -> Tensor:
        """Sum of the terms that depend on the scale, and its derivatives in ``(t_x, t_y)``."""
        pairs = _DERIVATIVES if order else _DERIVATIVES[:1]
        x = self._profiles("x", tx, max_variance)[:, [i for i, _ in pairs]]
        y = self._profiles("y", ty, max_variance)[:, [j for _, j in pairs]]
        return y.transpose(-1, -2) @ x

    def _profiles(self, axis: str, t: Tensor, max_variance: float | None) -> Tensor:
        """Profiles along one axis: shape (filters, derivative in t 0..2, terms, taps)."""
        kernel = discrete_gaussian(t, self._radius[axis], max_variance=max_variance)
        operators = self._operators[axis].to(kernel)
        return (kernel @ operators.flatten(0, 2).T).reshape(len(kernel), *operators.shape[:3])


@lru_cache(maxsize=1024)
def template_plan(name: str, size: tuple[int, int], window: Window = "exact") -> TemplatePlan:
    """Return the plan of a family on a window, built once for each combination.

    Raises
    ------
    ModelError
        If the family or the window is unknown, or a side of the window is even.

    Examples
    --------
    >>> template_plan("smooth", (3, 3)).size
    (3, 3)
    """
    if min(size) < 1 or any(n % 2 == 0 for n in size):
        raise ModelError(f"the window must have odd sides, so that it has a central pixel; got {size[0]}x{size[1]}")
    if window not in WINDOWS:
        raise ModelError(f"window must be one of {', '.join(map(repr, WINDOWS))}, got {window!r}")
    return TemplatePlan(family(name), size, window)


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
        only and uses ``sigma_x``.
    size : int or (int, int)
        Side, or rows and columns, of the window; odd.
    alpha : Tensor, array or float, shape (...), optional
        Strength of `sharpen`; required there and refused elsewhere.
    window : {"exact", "published"}
        Whether differences are taken before cropping to the window (exact), or after it (published).

    Returns
    -------
    Tensor, shape (..., rows, cols)
        The receptive fields; differentiable in `sigma` and `alpha`.

    Raises
    ------
    ModelError
        If the family is unknown, the size even, or `alpha` missing or out of place.

    Examples
    --------
    >>> template("dx", torch.tensor([0.0, 0.0]), 3)
    tensor([[-0.0000, 0.0000, 0.0000],
            [ 0.5000, 0.0000, -0.5000],
            [-0.0000, 0.0000, 0.0000]])
    """
    plan = template_plan(name, (size, size) if isinstance(size, int) else size, window)
    scales = as_float_tensor(sigma)
    if scales.ndim == 0 or scales.shape[-1] != 2:
        raise ModelError(f"sigma must end in an axis (sigma_x, sigma_y) of length 2, got shape {tuple(scales.shape)}")
    if plan.family.has_alpha == (alpha is None):
        raise ModelError(f"family {name!r} {'needs' if alpha is None else 'takes no'} alpha")
    variances = scales.square()
    if alpha is not None:
        strength = torch.as_tensor(alpha, dtype=scales.dtype, device=scales.device).expand(scales.shape[:-1])
        parameters = torch.stack([variances[..., 0], strength], dim=-1)
    else:
        parameters = variances
    return plan(parameters.reshape(-1, 2))[:, 0].reshape(*scales.shape[:-1], *plan.size)


def _axis_operators(family: Family, axis: str, size: int, window: Window) -> Tensor:
    """Matrices from T to the profiles of the terms and their derivatives in t: shape (3, terms, taps, wide).

    Term weights are folded into x.
    """
    margin = _margin(family, axis)
    wide = size + 2 * margin
    heat = 0.5 * sum(
        weight * torch.diag(torch.ones(wide - abs(offset), dtype=torch.float64), offset)
        for offset, weight in DIFFERENCES["second"].stencil.items()
    )
    matrices = []
    for term in family.terms:
        weight = term.weight if axis == "x" else 1.0
        crop = weight * difference_matrix(DIFFERENCES[getattr(term, axis)], size, margin, window)
        matrices.append(torch.stack([crop, crop @ heat, crop @ heat @ heat]))
    operators = torch.stack(matrices, dim=1)
    return operators.flip(2) if axis == "y" else operators


def _margin(family: Family, axis: str) -> int:
    return max(DIFFERENCES[getattr(term, axis)].reach for term in family.terms) + _HEAT_REACH
