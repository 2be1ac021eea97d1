"""Least absolute differences with two unknowns, for many problems at once, exactly. Problems are the last axis."""

import torch
from jaxtyping import Float
from torch import Tensor

_FIRST, _SHRINK, _STEPS = 0.1, 0.5, 30
_INSIDE = 1 - 1e-12
_RIDGE = 1e-13
_NEAREST = 4
_GAP, _TINY = 1e-8, 1e-12
_AT_ONCE = 16


def fitted_lines(targets: Float[Tensor, "taps n"], basis: Float[Tensor, "2 taps n"]) -> Float[Tensor, "2 n"]:
    r"""Return the coefficients with the least sum of ``|h - B c|``.

    The sum is smoothed to that of :math:`\sqrt{r^2 + \epsilon^2}` with an :math:`\epsilon` that is halved from step to
    step, and each step is one of Newton's method on the optimality conditions with multipliers w,
    :math:`\sum w B = 0` and :math:`w \sqrt{r^2 + \epsilon^2} = r`. An optimum leaves nothing at two taps: all pairs of
    the four with the smallest residuals are tried. Since :math:`\sum w h` with :math:`|w| \le 1` bounds the sum from
    below, what the steps miss is seen, and all pairs of taps are tried there.
    """
    coefficients, residual, bound = _smoothed(targets, basis)
    near = residual.abs().topk(min(_NEAREST, len(targets)), dim=0, largest=False).indices
    coefficients, best = _through_pairs(targets, basis, near, coefficients, residual)
    missed = (~(best - bound <= _GAP * best + _TINY)).nonzero()[:, 0]
    for column in missed.split(_AT_ONCE):
        coefficients[:, column] = _through_any_pair(targets[:, column], basis[:, :, column], coefficients[:, column])
    return coefficients


def _smoothed(h: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients and residuals at the end of the smoothing, and a lower bound of the sum."""
    coefficients = _solved(*_normal(basis, torch.ones_like(h), h))
    residual = h - (basis * coefficients[:, None]).sum(0)
    eps = _FIRST
    slope = residual / torch.sqrt(residual * residual + eps * eps)
    multipliers = slope
    for _ in range(_STEPS):
        tip = torch.sqrt(residual * residual + eps * eps)
        slope = residual / tip
        bend = (1 - multipliers * slope) / tip
        step = _solved(*_normal(basis, bend, slope / bend))
        change = torch.addcmul(basis[0] * step[0], basis[1], step[1])
        coefficients = coefficients + step
        multipliers = (slope - bend * change).clamp_(-_INSIDE, _INSIDE)
        residual = residual - change
        eps *= _SHRINK
    return coefficients, residual, (multipliers * h).sum(0)


def _normal(basis: Tensor, weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    first, second = basis[0] * weights, basis[1] * weights
    return (
        (first * basis[0]).sum(0),
        (first * basis[1]).sum(0),
        (second * basis[1]).sum(0),
        (first * target).sum(0),
        (second * target).sum(0),
    )


def _solved(a: Tensor, b: Tensor, c: Tensor, p: Tensor, q: Tensor) -> Tensor:
    determinant = torch.maximum(a * c - b * b, _RIDGE * a * c + torch.finfo(a.dtype).tiny)
    return torch.stack([(p * c - q * b) / determinant, (q * a - p * b) / determinant])


def _through_pairs(
    h: Tensor, basis: Tensor, places: Tensor, coefficients: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Best coefficients among given ones and those that leave nothing at two of the taps at `places`, (k, n)."""
    best = residual.abs().sum(0)
    x, y = basis[0].gather(0, places), basis[1].gather(0, places)
    z = h.gather(0, places)
    for i in range(len(places)):
        for j in range(i + 1, len(places)):
            determinant = x[i] * y[j] - x[j] * y[i]
            trial = torch.stack([z[i] * y[j] - z[j] * y[i], x[i] * z[j] - x[j] * z[i]]) / determinant
            value = (h - (basis * trial[:, None]).sum(0)).abs().sum(0)
            lower = value < best
            best = torch.where(lower, value, best)
            coefficients = torch.where(lower, trial, coefficients)
    return coefficients, best


def _through_any_pair(h: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """Best coefficients among given ones and those that leave nothing at any two taps."""
    one, two = torch.combinations(torch.arange(len(h), device=h.device)).unbind(-1)
    (a, c), (b, d) = (basis[:, place] for place in (one, two))
    determinant = a * d - b * c
    found = torch.stack([h[one] * d - h[two] * c, a * h[two] - b * h[one]]) / determinant
    trials = torch.cat([found, coefficients[:, None]], dim=1)  # (2, pairs + 1, n)
    values = torch.zeros_like(trials[0])
    for tap in range(len(h)):
        values += (h[tap] - trials[0] * basis[0, tap] - trials[1] * basis[1, tap]).abs_()
    best = torch.where(values.isfinite(), values, torch.inf).argmin(0)
    return trials.gather(1, best.expand(2, 1, -1))[:, 0]
