"""Safeguarded Newton minimisation of many small problems at once: two bounded parameters, and unbounded ones.

Problems are the last axis of every tensor, so that each step is one operation on long rows.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor

MAX_ITERATIONS = 30
STEP_TOLERANCE = 1e-10
ROUNDING = 4e-16
UNSEEN, SHORT = 1e-11, 1e-4
_CURVATURE_FLOOR = 1e-14
_FLAT = 1e-9
_APART = 1e-3
_RIDGE = 1e-13
_COMPACTION = 0.3


class Objective(Protocol):
    """A function of p parameters, p at least 2, for each of n problems."""

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value (n,), gradient (p, n) and Hessian (p, p, n) at parameters of shape (p, n)."""
        ...

    def select(self, index: Tensor) -> Self:
        """Return the objective of some of the problems."""
        ...


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the search ended.

    Parameters
    ----------
    parameters : Tensor, shape (p, problems)
    value : Tensor, shape (problems,)
    converged : Tensor of bool, shape (problems,)
        Whether the last step was below the tolerance.
    """

    parameters: Float[Tensor, "p problems"]
    value: Float[Tensor, "problems"]
    converged: Tensor


@dataclass(eq=False)
class _State:
    """The problems still at work, with ``u = log(1 + p)`` in place of the bounded p, and derivatives in u."""

    index: Tensor
    u: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor
    trust: Tensor
    limit: Tensor

    def select(self, keep: Tensor) -> "_State":
        return _State(**{name: tensor.index_select(-1, keep) for name, tensor in vars(self).items()})


def minimize(
    objective: Objective,
    start: Float[Tensor, "p problems"],
    upper: Float[Tensor, "2"],
    tolerance: float = ROUNDING,
) -> Minimum:
    """Minimise smooth functions in ``0 <= p <= upper`` for the first two parameters, each from its own start.

    The search in these two runs in ``u = log(1 + p)``, which is regular at 0 (a variance of 0 is legal and often
    optimal) and slows down where large scales cease to matter. A Newton step uses the absolute eigenvalues of the
    Hessian of the free parameters and a trust radius; a step that does not descend is not taken, so the result is never
    worse than the start. Problems that have converged leave the batch.

    Further parameters are unbounded, and the function is convex in them; they are eliminated from the step.

    Parameters
    ----------
    objective : Objective
    start : Tensor, shape (p, problems)
        With p at least 2.
    upper : Tensor, shape (2,)
    tolerance : float
        A problem has converged when a Newton step promises less descent than this.

    Returns
    -------
    Minimum
    """
    count = start.shape[1]
    u = torch.cat([torch.log1p(start[:2]), start[2:]])
    limit = torch.log1p(upper)[:, None].expand(2, count)
    state = _State(
        torch.arange(count, device=start.device), u, *_in_log(objective, u), trust=torch.ones_like(u[0]), limit=limit
    )
    final_u, final_value = u.clone(), state.value.clone()
    converged = torch.zeros(count, dtype=torch.bool, device=start.device)
    done = converged
    for _ in range(MAX_ITERATIONS):
        step, predicted = _newton_step(state)
        length = step.abs().amax(0)
        # A short step that promises next to nothing is taken unseen: what is left after it is its square. And where the
        # promise is below rounding, comparing values is comparing noise, while the gradient still knows the way.
        safe = (predicted < UNSEEN) & (length < SHORT) | (predicted < ROUNDING)
        last = ~done & (safe | (predicted < tolerance) | (length < STEP_TOLERANCE) | (state.trust < STEP_TOLERANCE))
        state.u = torch.where(last & safe, state.u + step, state.u)
        done = done | last
        final_u[:, state.index], final_value[state.index] = state.u, state.value
        converged[state.index] = done
        left = (~done).nonzero()[:, 0]
        if len(left) == 0:
            break
        if len(left) < (1 - _COMPACTION) * len(done):
            state, objective, done = state.select(left), objective.select(left), done[left]
            step, length = step[:, left], length[left]
        _move(state, objective, step, length, done)
    bounded = torch.minimum(torch.expm1(final_u[:2]), upper[:, None])
    return Minimum(torch.cat([bounded, final_u[2:]]), final_value, converged)


def _move(state: _State, objective: Objective, step: Tensor, length: Tensor, done: Tensor) -> None:
    """Take the steps that descend, in place."""
    proposal = state.u + step
    value, gradient, hessian = _in_log(objective, proposal)
    better = (value <= state.value) & ~done
    state.u = torch.where(better, proposal, state.u)
    state.value = torch.where(better, value, state.value)
    state.gradient = torch.where(better, gradient, state.gradient)
    state.hessian = torch.where(better, hessian, state.hessian)
    grown = torch.maximum(state.trust, 2 * length)
    state.trust = torch.where(better, grown, 0.25 * torch.minimum(length, state.trust)).clamp(max=1.0)


def _in_log(objective: Objective, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian with respect to ``u = log(1 + p)`` of the bounded parameters, and the others."""
    bounded = torch.expm1(u[:2])
    value, gradient, hessian = objective(torch.cat([bounded, u[2:]]) if len(u) > 2 else bounded)
    # dp/du = 1 + p, and the second derivative is the same.
    jacobian = bounded + 1
    scaled = gradient[:2] * jacobian
    inner = hessian[:2, :2] * jacobian[:, None] * jacobian
    inner[0, 0] += scaled[0]
    inner[1, 1] += scaled[1]
    if len(u) == 2:
        return value, scaled, inner
    full = hessian.clone()
    full[:2, :2] = inner
    full[2:, :2] *= jacobian
    full[:2, 2:] *= jacobian[:, None]
    return value, torch.cat([scaled, gradient[2:]]), full


def _newton_step(state: _State) -> tuple[Tensor, Tensor]:
    """Step inside the box and the trust radius, and the descent that the step without this radius promises."""
    if len(state.u) == 2:
        step = _bounded_step(state.u, state.gradient, state.hessian, state.limit)
    else:
        step = _full_step(state)
    shrunk = (state.trust / step.abs().amax(0).clamp(min=1e-300)).clamp(max=1.0)
    trusted = step * shrunk
    bounded = state.u[:2]  # rounding may carry a step over the edge that it ends on
    trusted[:2] = torch.maximum(torch.minimum(trusted[:2], state.limit - bounded), -bounded)
    return trusted, -(state.gradient * step).sum(0)


def _full_step(state: _State) -> Tensor:
    """Step in all parameters: the bounded ones on the reduced Hessian, then the others."""
    convex = state.hessian[2:, 2:].permute(2, 0, 1)
    trace = convex.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=torch.finfo(convex.dtype).tiny)
    ridge = torch.diag_embed((_RIDGE * trace)[:, None].expand(convex.shape[:-1]))
    mixed = state.hessian[2:, :2]
    right = torch.cat([state.gradient[2:, None], mixed], dim=1)
    solved = torch.linalg.solve_ex(convex + ridge, right.permute(2, 0, 1))[0].permute(1, 2, 0)
    gradient = state.gradient[:2] - (mixed * solved[:, :1]).sum(0)
    hessian = state.hessian[:2, :2] - (mixed[:, :, None] * solved[:, None, 1:]).sum(0)
    bounded = _bounded_step(state.u[:2], gradient, hessian, state.limit)
    return torch.cat([bounded, -(solved[:, 0] + (solved[:, 1:] * bounded).sum(1))])


def _bounded_step(u: Tensor, gradient: Tensor, hessian: Tensor, limit: Tensor) -> Tensor:
    """Step of the two bounded parameters: the minimum, inside their box, of a convex model.

    The eigenvalues of the Hessian are made positive. A function of a symmetric matrix of two rows is a combination of
    it and the identity, through the values at its two eigenvalues.
    """
    a, b, c = hessian[0, 0], hessian[0, 1], hessian[1, 1]
    high, low, p, q = _eigenvalues(hessian)
    slope = _slope(high, low, 1 / p, 1 / q, -torch.sign(high + low) / (p * q))  # close ones have one sign
    shift = 1 / p - slope * high
    along_x, along_y = a * gradient[0] + b * gradient[1], b * gradient[0] + c * gradient[1]
    step = -(shift * gradient + slope * torch.stack([along_x, along_y]))
    target = u + step
    outside = ((target < 0) | (target > limit)).any(0).nonzero()[:, 0]
    if len(outside):
        step[:, outside] = _step_on_an_edge(*(part[..., outside] for part in (u, gradient, hessian, limit)))
    return step


def _step_on_an_edge(u: Tensor, gradient: Tensor, hessian: Tensor, limit: Tensor) -> Tensor:
    """Minimum of the convex model on the four edges of the box, where its minimum is outside."""
    model = _absolute(hessian)
    lower, upper = -u, limit - u
    steps = []
    for fixed, free in ((0, 1), (1, 0)):
        for edge in (lower[fixed], upper[fixed]):
            best = -(gradient[free] + model[0, 1] * edge) / model[free, free]
            best = torch.minimum(torch.maximum(best, lower[free]), upper[free])
            steps.append(torch.stack([edge, best] if fixed == 0 else [best, edge]))
    candidates = torch.stack(steps)  # (edge, 2, n)
    bent = (model * candidates[:, None]).sum(2)
    values = (candidates * (gradient + 0.5 * bent)).sum(1)
    chosen: Tensor = candidates.gather(0, values.argmin(0).expand(1, 2, -1))[0]
    return chosen


def _absolute(hessian: Tensor) -> Tensor:
    """Matrices with the same eigenvectors and the absolute eigenvalues, held up by a floor: shape (2, 2, n)."""
    high, low, p, q = _eigenvalues(hessian)
    slope = _slope(high, low, p, q, torch.sign(high + low))
    return slope * hessian + torch.eye(2).to(hessian)[:, :, None] * (p - slope * high)


def _eigenvalues(hessian: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the larger and the smaller eigenvalue, and their absolute values, held up by a floor."""
    a, b, c = hessian[0, 0], hessian[0, 1], hessian[1, 1]
    middle, half = 0.5 * (a + c), torch.sqrt((0.5 * (a - c)).square() + b * b)
    high, low = middle + half, middle - half
    largest = torch.maximum(high.abs(), low.abs())
    floor = _CURVATURE_FLOOR + _FLAT * largest
    return high, low, torch.maximum(high.abs(), floor), torch.maximum(low.abs(), floor)


def _slope(high: Tensor, low: Tensor, at_high: Tensor, at_low: Tensor, together: Tensor) -> Tensor:
    """Slope of a function between two eigenvalues, given its values there, and its slope where they are close."""
    apart = high - low > _APART * torch.maximum(high.abs(), low.abs())
    return torch.where(apart, (at_high - at_low) / torch.where(apart, high - low, 1.0), together)
