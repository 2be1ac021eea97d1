"""Safeguarded Newton minimisation of many two-parameter problems at once, inside a box."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scalekeys.shapes import Indices

Objective: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""``(parameters (n, 2), index (n,)) -> value (n,), gradient (n, 2), Hessian (n, 2, 2)``."""

MAX_ITERATIONS = 60
STEP_TOLERANCE = 1e-10
_NEAR_BOUND = 0.01
_CURVATURE_FLOOR = 1e-14
_ROUNDING = 4e-16


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the search ended.

    Parameters
    ----------
    parameters : Tensor, shape (problems, 2)
    value : Tensor, shape (problems,)
    converged : Tensor of bool, shape (problems,)
        Whether the last step was below the tolerance.
    """

    parameters: Float[Tensor, "problems 2"]
    value: Float[Tensor, "problems"]
    converged: Bool[Tensor, "problems"]


@dataclass(eq=False)
class _State:
    """The problems still at work: in ``u = log(1 + p)``, with derivatives in u."""

    index: Indices
    u: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor
    trust: Tensor

    def select(self, keep: Tensor) -> "_State":
        return _State(**{name: tensor[keep] for name, tensor in vars(self).items()})


def minimize(objective: Objective, start: Float[Tensor, "problems 2"], upper: Float[Tensor, "problems 2"]) -> Minimum:
    """Minimise smooth functions of two parameters in ``0 <= p <= upper``, each from its own start.

    The search runs in ``u = log(1 + p)``, which is regular at 0 (a variance of 0 is legal and often optimal) and slows
    down where large scales cease to matter. A Newton step uses the absolute eigenvalues of the Hessian of the free
    parameters and a trust radius; a step that does not descend is not taken, so the result is never worse than the
    start. Problems that have converged leave the batch.

    Parameters
    ----------
    objective : callable
        ``(parameters, index) -> value, gradient, Hessian`` in the original parameters.
    start, upper : Tensor, shape (problems, 2)

    Returns
    -------
    Minimum
    """
    limit = torch.log1p(upper)
    final_u = torch.log1p(start)
    final_value = torch.empty_like(start[:, 0])
    converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)

    index = torch.arange(len(start), device=start.device)
    state = _State(index, final_u.clone(), *_in_log(objective, final_u, index), trust=torch.ones_like(final_value))
    for _ in range(MAX_ITERATIONS):
        if len(state.index) == 0:
            break
        step, predicted = _newton_step(state, limit[state.index])
        proposal = state.u + step
        value, gradient, hessian = _in_log(objective, proposal, state.index)
        # Where the promised descent is below rounding, comparing values is comparing noise. The gradient still knows
        # the way, so this last step is taken unseen.
        settled = predicted < _ROUNDING
        better = (value <= state.value) | settled
        length = step.abs().amax(-1)
        done = settled | (length < STEP_TOLERANCE) | (state.trust < STEP_TOLERANCE)
        trust = torch.where(better, torch.maximum(state.trust, 2 * length), 0.25 * torch.minimum(length, state.trust))
        choose = better[:, None]
        state = _State(
            state.index,
            torch.where(choose, proposal, state.u),
            torch.where(better, value, state.value),
            torch.where(choose, gradient, state.gradient),
            torch.where(choose[:, None], hessian, state.hessian),
            trust.clamp(max=1.0),
        )
        final_u[state.index], final_value[state.index] = state.u, state.value
        converged[state.index] = done
        state = state.select(~done)
    return Minimum(torch.minimum(torch.expm1(final_u), upper), final_value, converged)


def _in_log(objective: Objective, u: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian with respect to ``u = log(1 + p)``."""
    value, gradient, hessian = objective(torch.expm1(u), index)
    jacobian = torch.exp(u)  # dp/du = 1 + p, and the second derivative is the same
    scaled = gradient * jacobian
    curvature = hessian * jacobian[:, :, None] * jacobian[:, None, :] + torch.diag_embed(scaled)
    return value, scaled, curvature


def _newton_step(state: _State, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Step inside the box and the trust radius, and the descent that the linear model promises for it."""
    gradient = state.gradient
    # Near a bound that attracts it, a parameter steps on its own, so that clipping cannot spoil the other's descent.
    # The width of "near" vanishes with the projected gradient, which keeps the convergence quadratic (Bertsekas 1982).
    projected = (state.u - (state.u - gradient).clamp(min=0.0).minimum(limit)).abs().amax(-1, keepdim=True)
    near = projected.clamp(max=_NEAR_BOUND)
    alone = ((state.u <= near) & (gradient > 0)) | ((state.u >= limit - near) & (gradient < 0))
    a, c = state.hessian[:, 0, 0], state.hessian[:, 1, 1]
    b = torch.where(alone.any(-1), 0.0, state.hessian[:, 0, 1])

    # Eigenvalues of [[a, b], [b, c]], made positive; the inverse is then a combination of I and the matrix itself.
    middle, half = 0.5 * (a + c), torch.hypot(0.5 * (a - c), b)
    high, low = (middle + half).abs(), (middle - half).abs()
    floor = _CURVATURE_FLOOR + 1e-9 * torch.maximum(high, low)
    high, low = torch.maximum(high, floor), torch.maximum(low, floor)
    angle = 0.5 * torch.atan2(2 * b, a - c)
    axis = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    along = (axis * gradient).sum(-1, keepdim=True) * axis
    step = -(along / high[:, None] + (gradient - along) / low[:, None])

    step = (state.u + step).clamp(min=0.0).minimum(limit) - state.u
    length = step.abs().amax(-1, keepdim=True)
    step = step * torch.clamp(state.trust[:, None] / length.clamp(min=1e-300), max=1.0)
    return step, -(gradient * step).sum(-1)
