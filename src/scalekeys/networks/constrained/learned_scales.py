"""Scale parameters that are learned."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ScaleKind: TypeAlias = Literal["log", "softplus", "softplus-sigma"]
SCALE_KINDS: tuple[ScaleKind, ...] = get_args(ScaleKind)

UNIT = 0.05
"""The variance below which the logarithmic parameter turns linear; a kernel of it has 0.95 in its central pixel."""

FLOOR = 1e-3
"""The standard deviation that `softplus-sigma` never falls below, as in the published scripts."""

_LOG_2 = 0.6931471805599453


def log_parameter(t: Tensor) -> Tensor:
    """Return ``log(1 + t / UNIT)``, which is 0 at t = 0."""
    return torch.log1p(t / UNIT)


def from_log(theta: Tensor) -> Tensor:
    """Return the variance of a logarithmic parameter."""
    return UNIT * torch.expm1(theta)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def _sigma_parameter(t: Tensor) -> Tensor:
    """Return the parameter of a standard deviation; one below twice the floor starts there, where it still moves."""
    return _inverse_softplus((t.sqrt() - FLOOR).clamp(min=FLOOR))


_KINDS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "log": (log_parameter, from_log),
    "softplus": (lambda t: _inverse_softplus(t + _LOG_2), lambda theta: F.softplus(theta) - _LOG_2),
    "softplus-sigma": (_sigma_parameter, lambda theta: (F.softplus(theta) + FLOOR).square()),
}


def variances_from(kind: ScaleKind, theta: Tensor) -> Tensor:
    """Return the variances that parameters stand for."""
    return _KINDS[kind][1](theta)


class Scales(nn.Module):
    r"""Variances as functions of unbounded parameters.

    `variances`: where they start.
    `gaps`: by how much the larger of two variances exceeds the smaller.
    `kind`: "log" is :math:`t = u (e^\theta - 1)` with u = 0.05: logarithmic from there on and linear below; "softplus"
    is :math:`t = \log(1 + e^\theta) - \log 2`: linear from about 1 on. In both, a parameter of 0 stands for t = 0, and
    so does a negative one. "softplus-sigma" is :math:`\sqrt t = \log(1 + e^\theta) + 0.001`, which never is 0.
    `learned`: whether they take gradients.
    """

    def __init__(self, variances: Tensor, gaps: Tensor, kind: ScaleKind, *, learned: bool) -> None:
        super().__init__()
        self.kind = kind
        into = _KINDS[kind][0]
        self.theta = nn.Parameter(into(variances), requires_grad=learned)
        self.gap = nn.Parameter(into(gaps), requires_grad=learned) if len(gaps) else None

    def variances(self) -> Tensor:
        """Return the variances, negative where t is 0."""
        return variances_from(self.kind, self.theta)

    def gaps(self) -> Tensor:
        """Return the gaps, negative where they are 0."""
        return variances_from(self.kind, self.theta[:0] if self.gap is None else self.gap)

    def extra_repr(self) -> str:
        """Say how many there are."""
        gaps = 0 if self.gap is None else len(self.gap)
        return f"{len(self.theta)} scales, {gaps} gaps, {self.kind}, learned={self.theta.requires_grad}"
