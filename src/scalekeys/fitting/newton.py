"""Safeguarded Newton minimisation of many small problems at once, in two bounded parameters.

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
_COMPACTION = 0.3


class Objective(Protocol):
    """A function of two parameters for each of n problems."""

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value (n,), gradient (2, n) and Hessian (2, 2, n) at parameters of shape (2, n)."""
        ...

    def select(self, index: Tensor) -> Self:
        """Return the objective of some of the problems."""
        ...


@dataclass(eq=False)
class _State:
    """The problems still at work, with ``u = log(1 + p)`` in place of p, and derivatives in u."""

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
    objective: Objective, start: Float[Tensor, "2 problems"], upper: Float[Tensor, "2"]
) -> tuple[Float[Tensor, "2 problems"], Float[Tensor, "problems"]]:
    """Minimise smooth functions in ``0 <= p <= upper``, each from its own start.

    The search runs in ``u = log(1 + p)``, which is regular at 0 (a variance of 0 is legal and often optimal) and slows
    down where large scales cease to matter. A Newton step uses the absolute eigenvalues of the Hessian and a trust
    radius; a step that does not descend is not taken, so the result is never worse than the start. Problems that have
    converged leave the batch.

    Parameters
    ----------
    objective : Objective
    start : Tensor, shape (2, problems)
    upper : Tensor, shape (2,)

    Returns
    -------
    parameters : Tensor, shape (2, problems)
    value : Tensor, shape (problems,)
    """
    count = start.shape[1]
    u = torch.log1p(start)
    limit = torch.log1p(upper)[:, None].expand(2, count)
    state = _State(
        torch.arange(count, device=start.device), u, *_in_log(objective, u), trust=torch.ones_like(u[0]), limit=limit
    )
    final_u, final_value = u.clone(), state.value.clone()
    done = torch.zeros(count, dtype=torch.bool, device=start.device)
    for _ in range(MAX_ITERATIONS):
        step, predicted = _newton_step(state)
        length = step.abs().amax(0)
        # A short step that promises next to nothing is taken unseen: what is left after it is its square. And where the
        # promise is below rounding, comparing values is comparing noise, while the gradient still knows the way.
        safe = (predicted < UNSEEN) & (length < SHORT) | (predicted < ROUNDING)
        last = ~done & (safe | (length < STEP_TOLERANCE) | (state.trust < STEP_TOLERANCE))
        state.u = torch.where(last & safe, state.u + step, state.u)
        done = done | last
        final_u[:, state.index], final_value[state.index] = state.u, state.value
        left = (~done).nonzero()[:, 0]
        if len(left) == 0:
            break
        if len(left) < (1 - _COMPACTION) * len(done):
            state, objective, done = state.select(left), objective.select(left), done[left]
            step, length = step[:, left], length[left]
        _move(state, objective, step, length, done)
    return torch.minimum(torch.expm1(final_u), upper[:, None]), final_value


def _move(state: _State, objective: Objective, step: Tensor, length: Tensor, done: Tensor) -> None:
    """Take the steps that descend, in place; what is done has taken its last one."""
    proposal = state.u + torch.where(done, 0.0, step)
    value, gradient, hessian = _in_log(objective, proposal)
    better = (value <= state.value) & ~done
    state.u = torch.where(better, proposal, state.u)
    state.value = torch.where(better, value, state.value)
    state.gradient = torch.where(better, gradient, state.gradient)
    state.hessian = torch.where(better, hessian, state.hessian)
    grown = torch.maximum(state.trust, 2 * length)
    state.trust = torch.where(better, grown, 0.25 * torch.minimum(length, state.trust)).clamp(max=1.0)


def _in_log(objective: Objective, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian with respect to ``u = log(1 + p)``."""
    parameters = torch.expm1(u)
    value, gradient, hessian = objective(parameters)
    # dp/du = 1 + p, and the second derivative is the same.
    jacobian = parameters + 1
    scaled = gradient * jacobian
    bent = hessian * jacobian[:, None] * jacobian
    bent[0, 0] += scaled[0]
    bent[1, 1] += scaled[1]
    return value, scaled, bent


def _newton_step(state: _State) -> tuple[Tensor, Tensor]:
    """Step inside the box and the trust radius, and the descent that the step without this radius promises."""
    step = _bounded_step(state.u, state.gradient, state.hessian, state.limit)
    shrunk = (state.trust / step.abs().amax(0).clamp(min=1e-300)).clamp(max=1.0)
    # Rounding may carry a step over the edge that it ends on.
    trusted = torch.maximum(torch.minimum(step * shrunk, state.limit - state.u), -state.u)
    return trusted, -(state.gradient * step).sum(0)


def _bounded_step(u: Tensor, gradient: Tensor, hessian: Tensor, limit: Tensor) -> Tensor:
    """Step to the minimum, inside the box, of a convex model.

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
