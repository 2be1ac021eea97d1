"""Safeguarded Newton minimisation of many small problems at once: two bounded parameters, and unbounded ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scalekeys.shapes import Indices

Objective: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""``(parameters (n, p), index (n,)) -> value (n,), gradient (n, p), Hessian (n, p, p)``, with p at least 2."""

MAX_ITERATIONS = 60
STEP_TOLERANCE = 1e-10
ROUNDING = 4e-16
_CURVATURE_FLOOR = 1e-14
_RIDGE = 1e-13


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the search ended.

    Parameters
    ----------
    parameters : Tensor, shape (problems, p)
    value : Tensor, shape (problems,)
    converged : Tensor of bool, shape (problems,)
        Whether the last step was below the tolerance.
    """

    parameters: Float[Tensor, "problems p"]
    value: Float[Tensor, "problems"]
    converged: Bool[Tensor, "problems"]


@dataclass(eq=False)
class _State:
    """The problems still at work, with ``u = log(1 + p)`` in place of the bounded p, and derivatives in u."""

    index: Indices
    u: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor
    trust: Tensor

    def select(self, keep: Tensor) -> "_State":
        return _State(**{name: tensor[keep] for name, tensor in vars(self).items()})


def minimize(
    objective: Objective,
    start: Float[Tensor, "problems p"],
    upper: Float[Tensor, "problems 2"],
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
    objective : callable
        ``(parameters, index) -> value, gradient, Hessian`` in the original parameters.
    start : Tensor, shape (problems, p)
        With p at least 2.
    upper : Tensor, shape (problems, 2)
    tolerance : float
        A problem has converged when a Newton step promises less descent than this.

    Returns
    -------
    Minimum
    """
    limit = torch.log1p(upper)
    final_u = torch.cat([torch.log1p(start[:, :2]), start[:, 2:]], dim=-1)
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
        better = (value <= state.value) | (predicted < ROUNDING)
        length = step.abs().amax(-1)
        done = (predicted < tolerance) | (length < STEP_TOLERANCE) | (state.trust < STEP_TOLERANCE)
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
    bounded = torch.minimum(torch.expm1(final_u[:, :2]), upper)
    return Minimum(torch.cat([bounded, final_u[:, 2:]], dim=-1), final_value, converged)


def _in_log(objective: Objective, u: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian with respect to ``u = log(1 + p)`` of the bounded parameters, and the others."""
    bounded = u[:, :2]
    value, gradient, hessian = objective(torch.cat([torch.expm1(bounded), u[:, 2:]], dim=-1), index)
    # dp/du = 1 + p, and the second derivative is the same.
    jacobian = torch.nn.functional.pad(torch.exp(bounded), (0, u.shape[1] - 2), value=1.0)
    scaled = gradient * jacobian
    bend = torch.nn.functional.pad(scaled[:, :2], (0, u.shape[1] - 2))
    return value, scaled, hessian * jacobian[:, :, None] * jacobian[:, None, :] + torch.diag_embed(bend)


def _newton_step(state: _State, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Step inside the box and the trust radius, and the descent that the step without this radius promises."""
    if state.u.shape[1] == 2:
        step = _bounded_step(state.u, state.gradient, state.hessian, limit)
    else:
        step = _full_step(state, limit)
    length = step.abs().amax(-1, keepdim=True)
    trusted = step * torch.clamp(state.trust[:, None] / length.clamp(min=1e-300), max=1.0)
    return trusted, -(state.gradient * step).sum(-1)


def _full_step(state: _State, limit: Tensor) -> Tensor:
    """Step in all parameters: the bounded ones on the reduced Hessian, then the others."""
    convex = state.hessian[:, 2:, 2:]
    trace = convex.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=torch.finfo(convex.dtype).tiny)
    ridge = torch.diag_embed((_RIDGE * trace)[:, None].expand(convex.shape[:-1]))
    mixed = state.hessian[:, 2:, :2]
    right = torch.cat([state.gradient[:, 2:, None], mixed], dim=-1)
    solved, _ = torch.linalg.solve_ex(convex + ridge, right)
    gradient = state.gradient[:, :2] - (mixed.mT @ solved[..., :1])[..., 0]
    hessian = state.hessian[:, :2, :2] - mixed.mT @ solved[..., 1:]
    bounded = _bounded_step(state.u[:, :2], gradient, hessian, limit)
    return torch.cat(
        [bounded, -(solved @ torch.nn.functional.pad(bounded, (1, 0), value=1.0)[..., None])[..., 0]], dim=-1
    )


def _bounded_step(u: Tensor, gradient: Tensor, hessian: Tensor, limit: Tensor) -> Tensor:
    """Step of the two bounded parameters: the minimum, inside their box, of a convex model.

    The eigenvalues of ``[[a, b], [b, c]]`` are made positive; the inverse is then a combination of I and the matrix.
    """
    a, b, c = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
    middle, half = 0.5 * (a + c), torch.hypot(0.5 * (a - c), b)
    high, low = (middle + half).abs(), (middle - half).abs()
    floor = _CURVATURE_FLOOR + 1e-9 * torch.maximum(high, low)
    high, low = torch.maximum(high, floor), torch.maximum(low, floor)
    angle = 0.5 * torch.atan2(2 * b, a - c)
    axis = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    along = (axis * gradient).sum(-1, keepdim=True) * axis
    step = -(along / high[:, None] + (gradient - along) / low[:, None])

    outside = ((u + step < 0) | (u + step > limit)).any(-1).nonzero()[:, 0]
    if len(outside):
        model = low[:, None, None] * torch.eye(2).to(u) + (high - low)[:, None, None] * axis[:, :, None] * axis[:, None]
        step[outside] = _step_on_an_edge(u[outside], gradient[outside], model[outside], limit[outside])
    return step


def _step_on_an_edge(u: Tensor, gradient: Tensor, model: Tensor, limit: Tensor) -> Tensor:
    """Minimum of a convex quadratic model on the four edges of the box, where its minimum is outside."""
    lower, upper = -u, limit - u
    steps = []
    for fixed, free in ((0, 1), (1, 0)):
        for edge in (lower[:, fixed], upper[:, fixed]):
            best = -(gradient[:, free] + model[:, 0, 1] * edge) / model[:, free, free]
            best = torch.minimum(torch.maximum(best, lower[:, free]), upper[:, free])
            steps.append(torch.stack([edge, best] if fixed == 0 else [best, edge], dim=-1))
    candidates = torch.stack(steps, dim=1)
    values = (candidates @ gradient[..., None])[..., 0] + 0.5 * ((candidates @ model) * candidates).sum(-1)
    return candidates.gather(1, values.argmin(-1)[:, None, None].expand(-1, 1, 2))[:, 0]
