"""The discrete analogue of the Gaussian, T(n; t) = exp(-t) I_n(t)."""

import math

import torch
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.shapes import Kernel1d, Variances

TRACED_MAX_VARIANCE = 1000.0
TERMS = 4
"""Terms of the expansion at large scales; the limit of a receptive field of order 2 needs three."""

_WIDE = 4096.0  # times (radius + 1)^2: variances from which the expansion holds to the rounding of float64


def discrete_gaussian(t: Variances, radius: int, *, max_variance: float | None = None) -> Kernel1d:
    r"""Evaluate the discrete analogue of the Gaussian kernel on the taps from ``-radius`` to ``radius``.

    Parameters
    ----------
    t : Tensor, shape (...), float32 or float64
        Scale parameter: the variance of the kernel in pixels squared, ``t >= 0``. ``t = 0`` gives the unit impulse.
    radius : int
        Half width of the support; the result has ``2 radius + 1`` taps.
    max_variance : float, optional
        An upper bound for every entry of `t`, which fixes the length of the recurrence. By default it is read from
        `t`, which costs a synchronisation on a GPU. While tracing (``torch.compile``, ``torch.export``, ONNX) values
        cannot be read and the default is 1000. With a bound given, `t` is not validated.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1)
        The kernel, in the dtype and on the device of `t`; differentiable in `t` to any order.

    Raises
    ------
    ModelError
        If `t` is not float32 or float64, or holds a negative or non-finite value, or `radius` or `max_variance` is
        negative.

    Notes
    -----
    .. math:: T(n; t) = e^{-t} I_n(t)

    with the modified Bessel functions :math:`I_n`. The kernel is positive, symmetric and unimodal, sums to 1 over all
    integers, has variance exactly `t`, and is a semigroup. The ratios :math:`r_k = I_k / I_{k-1}` come from the
    backward continued fraction :math:`r_k = t / (2 k + t r_{k+1})`, and the sum rule fixes the scale. Every term is
    positive, so there is no cancellation and no overflow, and only ``+ * / sqrt`` occur. Kernels that hardly fall up to
    the radius, of variances above ``4096 (radius + 1)^2``, are the first four terms of the expansion in 1 / t (DLMF
    10.40.1) instead. The relative error is about 1e-14 in float64 and 2e-7 in float32.

    References
    ----------
    T. Lindeberg, "Scale-space for discrete signals", IEEE Trans. PAMI 12(3):234-254, 1990.

    Examples
    --------
    >>> import torch
    >>> from scalekeys.scalespace import discrete_gaussian
    >>> discrete_gaussian(torch.tensor([0.0, 1.0], dtype=torch.float64), radius=2)
    tensor([[0.0000, 0.0000, 1.0000, 0.0000, 0.0000],
            [0.0499, 0.2079, 0.4658, 0.2079, 0.0499]], dtype=torch.float64)
    """
    check_arguments(t, radius)
    is_given = max_variance is not None or torch.compiler.is_compiling()
    if max_variance is None:
        max_variance = TRACED_MAX_VARIANCE if torch.compiler.is_compiling() else checked_maximum(t)
    if not 0 <= max_variance < math.inf:
        raise ModelError(f"max_variance must be finite and at least 0, got {max_variance}")

    wide = _WIDE * (radius + 1) ** 2
    if max_variance <= wide:
        return _by_recurrence(t, radius, max_variance)
    is_wide = t > wide
    near, far = torch.where(is_wide, 0.0, t), torch.where(is_wide, t, 1.0)[..., None]
    powers = far ** -torch.arange(TERMS, dtype=t.dtype, device=t.device)
    series = powers @ expansion(radius).to(t) * (2 * math.pi * far).rsqrt()
    longest = wide if is_given else checked_maximum(near)
    return torch.where(is_wide[..., None], series, _by_recurrence(near, radius, longest))


def expansion(radius: int) -> Tensor:
    """Return polynomials whose sum, divided by powers of t, is ``sqrt(2 pi t) T(n; t)`` for large t.

    Shape (terms, 2 radius + 1), float64; see :mod:`scalekeys.scalespace.limits`.
    """
    mu = 4 * torch.arange(-radius, radius + 1, dtype=torch.float64).square()
    terms = [torch.ones_like(mu)]
    for k in range(1, TERMS):
        terms.append(terms[-1] * -(mu - (2 * k - 1) ** 2) / (8 * k))
    return torch.stack(terms)


def check_arguments(t: Tensor, radius: int) -> None:
    """Refuse a type of `t` or a `radius` that no kernel is made for."""
    if radius < 0:
        raise ModelError(f"radius must be at least 0, got {radius}")
    if t.dtype not in (torch.float32, torch.float64):
        raise ModelError(f"t must be float32 or float64, got {t.dtype}")


def checked_maximum(t: Tensor) -> float:
    """Return the largest entry of `t`, refusing negative and non-finite ones."""
    if t.numel() == 0:
        return 0.0
    low, high = (float(v) for v in torch.aminmax(t.detach()))
    if not (low >= 0 and math.isfinite(high)):
        raise ModelError(f"t is a variance and must be finite and at least 0; got values in [{low}, {high}]")
    return high


def _by_recurrence(t: Tensor, radius: int, max_variance: float) -> Tensor:
    ratios, tail = _bessel_ratios(t, radius, _recurrence_length(radius, max_variance, t.dtype))
    half = [1 / (1 + 2 * tail)]
    for ratio in ratios:
        half.append(half[-1] * ratio)
    return torch.stack([*reversed(half[1:]), *half], dim=-1)


def _recurrence_length(radius: int, max_variance: float, dtype: torch.dtype) -> int:
    """Return the index from which the terms of the sum rule are below the rounding error of `dtype`."""
    spread, margin = (8.0, 6) if dtype == torch.float64 else (5.2, 4)
    return radius + math.ceil(spread * math.sqrt(max_variance)) + margin


def _bessel_ratios(t: Tensor, radius: int, length: int) -> tuple[list[Tensor], Tensor]:
    """Return ``[r_1 .. r_radius]`` and ``sum over n >= 1 of I_n / I_0``, by the backward continued fraction."""
    ratio = t / (length + 1 + torch.sqrt((length + 1) ** 2 + t * t))
    tail = torch.zeros_like(t)
    ratios: list[Tensor] = []
    twice = torch.arange(2, 2 * length + 2, 2, dtype=t.dtype, device=t.device).unbind()
    for k in range(length, 0, -1):
        ratio = t / torch.addcmul(twice[k - 1], t, ratio)
        tail = torch.addcmul(ratio, ratio, tail)
        if k <= radius:
            ratios.append(ratio)
    return ratios[::-1], tail
