r"""Templates at infinite scales: the limit of a receptive field inside a window, up to a factor and an offset.

For large t the discrete analogue of the Gaussian has the expansion

.. math:: \sqrt{2 \pi t}\, T(n; t) \sim 1 - \frac{\mu - 1}{8 t} + \frac{(\mu - 1)(\mu - 9)}{2!\,(8 t)^2}
          - \frac{(\mu - 1)(\mu - 9)(\mu - 25)}{3!\,(8 t)^3} + \dots, \qquad \mu = 4 n^2 ,

with polynomials in n (Abramowitz and Stegun, 9.7.1). Profiles are stencils on it, and a receptive field is a series in
1 / t whose first term that is not constant over the window remains, once the mean is subtracted.
"""

from typing import Protocol

import torch
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.families import Family
from scalekeys.scalespace.gaussian import TERMS
from scalekeys.scalespace.parametrizations import AxisScales

_CONSTANT = 1e-9


class Plan(Protocol):
    """What is asked of a family on a window."""

    family: Family
    size: tuple[int, ...]

    def __call__(self, parameters: Tensor) -> Tensor:
        """Return the templates at finite parameters, shape (n, components, *size)."""
        ...

    def expanded(self, operator: str, axis: int, t: Tensor) -> Tensor:
        """Return the profile of an operator, or the terms of its series in 1 / t."""
        ...


def limit_template(plan: Plan, parameters: Tensor) -> Tensor:
    """Return centred templates of norm 1 where a variance is infinite, and plain templates elsewhere: (n, *size).

    Where several scales are infinite, they are equal: their ratio counts in the limit.

    Raises ModelError if the family has no limit of its own, as those of two scales and of a strength.
    """
    if not isinstance(plan.family.parametrization, AxisScales):
        raise ModelError(f"family {plan.family.name!r} has no template at an infinite scale of its own")
    infinite = torch.isinf(parameters)
    fields = plan(torch.where(infinite, 0.0, parameters))[:, 0]
    for row in infinite.any(-1).nonzero()[:, 0].tolist():
        fields[row] = _limit(plan, parameters[row]).to(fields)
    return fields


def _limit(plan: Plan, parameters: Tensor) -> Tensor:
    t = plan.family.parametrization.component_variances(parameters[None].detach().double())[0, 0]
    total = torch.zeros(TERMS, *plan.size, dtype=torch.float64)
    for term in plan.family.terms:
        field = torch.ones(1, dtype=torch.float64)  # a series of one term, of no axes
        for axis, operator in enumerate(term.operators):
            profile = plan.expanded(operator, axis, t[axis])
            field = _multiplied(field, profile)
        total[: len(field)] += term.weight * field
    for order in total:
        centred = order - order.mean()
        norm = torch.linalg.vector_norm(centred)
        if norm > _CONSTANT * torch.linalg.vector_norm(order):
            limit: Tensor = centred / norm
            return limit
    return torch.zeros(plan.size, dtype=torch.float64)


def _multiplied(field: Tensor, profile: Tensor) -> Tensor:
    """Product of two series in 1 / t, of shapes (terms, *size) and (terms, taps): shape (terms, taps, *size)."""
    terms = min(TERMS, len(field) + len(profile) - 1)
    shape = profile.shape[1:] + field.shape[1:]
    out = torch.zeros(terms, *shape, dtype=torch.float64)
    for a, own in enumerate(profile):
        for b, other in enumerate(field[: terms - a]):
            out[a + b] += own.reshape(-1, *(1,) * other.ndim) * other
    return out
