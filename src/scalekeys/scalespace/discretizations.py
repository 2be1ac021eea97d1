"""Other discretizations of the Gaussian, for comparison with the discrete analogue.

All have the signature ``kernel(t, radius)`` and return the taps ``-radius .. radius``. At fine scales their variance
differs from ``t``: the sampled kernels are too narrow, the integrated ones too wide (by 1/12 and 1/6 at coarse scales).
At ``t = 0`` each takes its limit, a unit impulse (for the sampled Gaussian, whose central value grows without bound, an
infinite one). A `t` that is not float32 or float64, negative or not finite is refused with a
:class:`~scalekeys.errors.ModelError`, and so is a negative radius; while tracing, values cannot be read and are not
checked.

References
----------
T. Lindeberg, "Discrete approximations of Gaussian smoothing and Gaussian derivatives", JMIV 66:759-800, 2024.
"""

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from scalekeys.errors import check_choice
from scalekeys.scalespace.gaussian import check_arguments, checked_maximum
from scalekeys.shapes import Kernel1d, Variances

Discretization: TypeAlias = Literal[
    "discrete", "sampled", "normalized-sampled", "integrated", "hybrid-sampled", "hybrid-integrated"
]
DISCRETIZATIONS: tuple[Discretization, ...] = get_args(Discretization)
"""The discretizations of Gaussian derivatives; see :func:`scalekeys.scalespace.gaussian_derivative`."""

_SMALLEST = 0.04


def check_discretization(name: str) -> None:
    """Refuse a discretization that is not known."""
    check_choice("discretization", name, DISCRETIZATIONS)


def smallest_variance(discretization: Discretization) -> float:
    """Return the variance at which searches for a scale begin.

    Zero for the discrete analogue. 0.04, a sigma of 0.2 pixels, for the discretizations of the continuous Gaussian:
    below this variance a sampled Gaussian falls between the pixels, its derivatives vanish faster than any power of the
    scale, and the form of the kernels no longer changes.

    Examples
    --------
    >>> smallest_variance("discrete"), smallest_variance("sampled")
    (0.0, 0.04)
    """
    return 0.0 if discretization == "discrete" else _SMALLEST


def sampled_gaussian(t: Variances, radius: int) -> Kernel1d:
    """Sample the continuous Gaussian density of variance `t` at the integers.

    Parameters
    ----------
    t : Tensor, shape (...)
        Variance in pixels squared, ``t >= 0``.
    radius : int
        Half width of the support.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1)
        The kernel. It does not sum to 1, and exceeds 1 at the centre for ``t < 1 / (2 pi)``.

    Examples
    --------
    >>> import torch
    >>> sampled_gaussian(torch.tensor(1.0), 1)
    tensor([0.2420, 0.3989, 0.2420])
    """
    n = checked_taps(t, radius)
    positive, safe = positive_variances(t)
    return torch.where(positive, density(safe, n), torch.where(n == 0, (2 * math.pi * t[..., None]) ** -0.5, 0.0))


def normalized_sampled_gaussian(t: Variances, radius: int) -> Kernel1d:
    """Sample the continuous Gaussian and divide by the sum over the ``2 radius + 1`` taps.

    Parameters
    ----------
    t : Tensor, shape (...)
        Variance in pixels squared, ``t >= 0``.
    radius : int
        Half width of the support.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1)
        The kernel, of unit sum.

    Examples
    --------
    >>> import torch
    >>> normalized_sampled_gaussian(torch.tensor([0.0, 1.0]), 1)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.2741, 0.4519, 0.2741]])
    """
    n = checked_taps(t, radius)
    positive, safe = positive_variances(t)
    weights = torch.exp(-n * n / (2 * safe))
    return torch.where(positive, weights / weights.sum(-1, keepdim=True), (n == 0).to(t.dtype))


def integrated_gaussian(t: Variances, radius: int) -> Kernel1d:
    """Integrate the continuous Gaussian over each pixel.

    Parameters
    ----------
    t : Tensor, shape (...)
        Variance in pixels squared, ``t >= 0``.
    radius : int
        Half width of the support.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1)
        The kernel; it sums to 1 over all integers.

    Examples
    --------
    >>> import torch
    >>> integrated_gaussian(torch.tensor([0.0, 1.0]), 1)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.2417, 0.3829, 0.2417]])
    """
    n = checked_taps(t, radius)
    positive, safe = positive_variances(t)
    kernel = distribution(safe, n + 0.5) - distribution(safe, n - 0.5)
    return torch.where(positive, kernel, (n == 0).to(t.dtype))


def linearly_integrated_gaussian(t: Variances, radius: int) -> Kernel1d:
    """Integrate the continuous Gaussian against the hat function of linear interpolation at each pixel.

    Parameters
    ----------
    t : Tensor, shape (...)
        Variance in pixels squared, ``t >= 0``.
    radius : int
        Half width of the support.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1)
        The kernel; it sums to 1 over all integers.

    Examples
    --------
    >>> import torch
    >>> linearly_integrated_gaussian(torch.tensor([0.0, 1.0]), 1)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.2408, 0.3687, 0.2408]])
    """
    n = checked_taps(t, radius)
    positive, safe = positive_variances(t)

    def second_antiderivative(x: Tensor) -> Tensor:
        return x * distribution(safe, x) + safe * density(safe, x)

    kernel = second_antiderivative(n + 1) - 2 * second_antiderivative(n) + second_antiderivative(n - 1)
    return torch.where(positive, kernel, (n == 0).to(t.dtype))


def checked_taps(t: Tensor, radius: int) -> Tensor:
    """Return the taps from ``-radius`` to ``radius``; raises ModelError for a `t` or a radius that no kernel has."""
    check_arguments(t, radius)
    if not torch.compiler.is_compiling():
        checked_maximum(t)
    return integer_taps(t, radius)


def integer_taps(t: Tensor, radius: int) -> Tensor:
    """Return the taps from ``-radius`` to ``radius`` in the dtype and on the device of `t`."""
    return torch.arange(-radius, radius + 1, dtype=t.dtype, device=t.device)


def positive_variances(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return where a kernel differs from its limit at 0 by more than rounding, and `t` with 1 put in elsewhere.

    Below the square of the rounding error the derivatives of the formulas overflow, times factors that underflow.
    """
    positive = (t > torch.finfo(t.dtype).eps ** 2)[..., None]
    return positive, torch.where(positive, t[..., None], 1.0)


def density(t: Tensor, x: Tensor) -> Tensor:
    """Gaussian density of variance `t`."""
    return torch.exp(-x * x / (2 * t)) * (2 * math.pi * t) ** -0.5


def distribution(t: Tensor, x: Tensor) -> Tensor:
    """Gaussian distribution function of variance `t`, less one half."""
    return 0.5 * torch.erf(x / torch.sqrt(2 * t))
