"""Safeguarded Newton minimisation of many small problems at once, in a few bounded parameters.

Problems are the last axis of every tensor, so that each step is one operation on long rows.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor

MAX_ITERATIONS = 40
STEP_TOLERANCE = 1e-10
ROUNDING = 4e-16
UNSEEN, SHORT, LONG = 1e-11, 1e-4, 1e-2
NOT_INFINITE = 1e-8
_CORNER = 0.1  # several scales with 1 - u below this are in the corner of infinite scales
_DESCENT = 0.1  # a step to the edges must promise at least this share of what the shortened first step does
_NEARLY = 1e-4
_OUTWARDS, _JUMP = 0.5, 5.0
_FAR = 4.0  # how much longer steps may be in the corner
_CURVATURE_FLOOR = 1e-14
_FLAT = {torch.float32: 1e-4, torch.float64: 1e-9}  # its inverse times rounding is the error of a step
_APART = 1e-3
_COMPACTION = 0.3


class Objective(Protocol):
    """A function of a few parameters for each of n problems."""

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value (n,), gradient (p, n) and Hessian (p, p, n) at parameters of shape (p, n)."""
        ...

    def select(self, index: Tensor) -> Self:
        """Return the objective of some of the problems, by ascending number."""
        ...


@dataclass(eq=False)
class _State:
    """The problems still at work."""

    index: Tensor
    u: Tensor
    value: Tensor
    gradient: Tensor
    hessian: Tensor
    trust: Tensor

    def select(self, keep: Tensor) -> "_State":
        return _State(**{name: tensor.index_select(-1, keep) for name, tensor in vars(self).items()})


def minimize(
    objective: Objective,
    start: Float[Tensor, "p problems"],
    lower: Float[Tensor, "p *each"],
    upper: Float[Tensor, "p *each"],
    *,
    compact: bool = False,
    iterations: int = MAX_ITERATIONS,
) -> tuple[Float[Tensor, "p problems"], Float[Tensor, "problems"]]:
    """Minimise smooth functions in a box, each from its own start.

    A Newton step uses the absolute eigenvalues of the Hessian and a trust radius; a step that does not descend is not
    taken, so the result is never worse than the start. Problems that have converged leave the batch.

    `lower`, `upper`: shape (p,) or (p, problems); the ends of the box, or of a box for each problem.
    `compact`: whether the parameters are places ``u = t / (c + t)`` of scales, which all may become infinite. Where
    several of them do, their ratio counts, and steps are taken in ``-log(1 - u)`` there.
    """
    count = start.shape[1]
    low, high = (ends.reshape(len(start), -1).to(start) for ends in (lower, upper))
    u = torch.minimum(torch.maximum(start, low), high)
    state = _State(torch.arange(count, device=start.device), u, *objective(u), trust=torch.ones_like(u[0]))
    final_u, final_value = u.clone(), state.value.clone()
    done = torch.zeros(count, dtype=torch.bool, device=start.device)
    compact = compact and len(start) > 1
    for _ in range(iterations):
        proposal, length, predicted = _proposed(state, low, high, compact=compact)
        # A short step that promises next to nothing is taken unseen: what is left after it is its square. And where the
        # promise is below rounding, comparing values is comparing noise, while the gradient still knows the way.
        safe = (predicted < UNSEEN) & (length < SHORT) | (predicted < ROUNDING) & (length < LONG)
        last = safe | (length < STEP_TOLERANCE) | (state.trust < STEP_TOLERANCE) | (predicted < ROUNDING)
        if compact:  # at and near infinite scales a promise that small comes from their not being infinite
            last |= (predicted < NOT_INFINITE) & ((1 - state.u < _NEARLY).sum(0) > 1) | (
                (predicted < NOT_INFINITE / 10) & ((state.u >= high) & (high > low)).any(0)
            )
        last &= ~done
        state.u = torch.where(last & safe, proposal, state.u)
        done = done | last
        final_u[:, state.index], final_value[state.index] = state.u, state.value
        left = (~done).nonzero()[:, 0]
        if len(left) == 0:
            break
        if len(left) < (1 - _COMPACTION) * len(done):
            state, objective, done = state.select(left), objective.select(left), done[left]
            low, high = (ends if lower.ndim == 1 else ends[:, left] for ends in (low, high))
            proposal, length = proposal[:, left], length[left]
        _move(state, objective, torch.where(done, state.u, proposal), length, done)
    final_u[:, state.index], final_value[state.index] = state.u, state.value
    return final_u, final_value


def _proposed(state: _State, low: Tensor, high: Tensor, *, compact: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return where a trusted step leads, how long it is, and what the step without a trust radius promises."""
    u, gradient, hessian = state.u, state.gradient, state.hessian
    step = box_step(u, gradient, hessian, low, high)
    predicted = -(gradient * step).sum(0)
    shrunk = (state.trust / step.abs().amax(0).clamp(min=1e-300)).clamp(max=1.0)
    # Rounding may carry a step over the edge that it ends on.
    step = torch.maximum(torch.minimum(step * shrunk, high - u), low - u)
    proposal, length = u + step, step.abs().amax(0)
    corner = ((1 - u < _CORNER).sum(0) > 1).nonzero()[:, 0] if compact else u.new_zeros(0, dtype=torch.long)
    if len(corner):
        ends = (end[:, corner] if end.shape[1] > 1 else end for end in (low, high))
        proposal[:, corner], length[corner], predicted[corner] = _in_the_corner(state.select(corner), *ends)
    return proposal, length, predicted


def _in_the_corner(state: _State, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same for steps in ``z = -log(1 - u)``, in which ratios of large scales are differences."""
    w = 1 - state.u
    gradient = state.gradient * w
    hessian = state.hessian * w * w[:, None] - torch.diag_embed(gradient.T).movedim(0, -1)
    z, bottom, top = -torch.log(w), -torch.log1p(-low), -torch.log1p(-high)
    step = box_step(z, gradient, hessian, bottom, top)
    predicted = -(gradient * step).sum(0)
    shrunk = (_FAR * state.trust / step.abs().amax(0).clamp(min=1e-300)).clamp(max=1.0)
    # Towards infinity a function falls as w, for which a Newton step in z is 1 however far there is to go.
    outwards = (step > _OUTWARDS).all(0) & (state.trust >= 1.0)
    step = step * shrunk + torch.where(outwards, _JUMP, 0.0)
    step = torch.maximum(torch.minimum(step, top - z), bottom - z)
    proposal = torch.maximum(torch.minimum(-torch.expm1(-(z + step)), high), low)
    return proposal, step.abs().amax(0), predicted


def _move(state: _State, objective: Objective, proposal: Tensor, length: Tensor, done: Tensor) -> None:
    """Take the steps that descend, in place; what is done has taken its last one."""
    value, gradient, hessian = objective(proposal)
    better = (value <= state.value) & ~done
    state.u = torch.where(better, proposal, state.u)
    state.value = torch.where(better, value, state.value)
    state.gradient = torch.where(better, gradient, state.gradient)
    state.hessian = torch.where(better, hessian, state.hessian)
    grown = torch.maximum(state.trust, 2 * length)
    state.trust = torch.where(better, grown, 0.25 * torch.minimum(length, state.trust)).clamp(max=1.0)


def box_step(u: Tensor, gradient: Tensor, hessian: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return the Newton step with the absolute eigenvalues of the Hessian, inside a box.

    A parameter that stands at an end of the box and is drawn across it stays there. Where the step of others crosses an
    end, they go to it, and the rest follows.

    `u`, `gradient`: shape (p, n).
    `hessian`: shape (p, p, n).
    `lower`, `upper`: shape (p, 1) or (p, n).
    """
    free = ~((u <= lower) & (gradient > 0) | (u >= upper) & (gradient < 0))
    step = _absolute_step(gradient, hessian, free)
    low, high = lower - u, upper - u
    outside = (step < low) | (step > high)
    crossing = outside.any(0).nonzero()[:, 0]
    if len(u) > 1 and len(crossing):
        step[:, crossing] = _along_edges(*(part[..., crossing] for part in (step, gradient, hessian, free, low, high)))
    return torch.maximum(torch.minimum(step, high), low)


def _along_edges(step: Tensor, gradient: Tensor, hessian: Tensor, free: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Let parameters that would cross an end of the box go to it, and the others follow."""
    bounded = torch.maximum(torch.minimum(step, high), low)
    held = (bounded != step) | ~free
    moved = torch.where(held, bounded, 0.0)
    ahead = gradient + (hessian * moved).sum(1)
    along = torch.where(held, bounded, _absolute_step(ahead, hessian, ~held))
    along = torch.maximum(torch.minimum(along, high), low)
    # Where the function curves downwards, following may lead upwards; a part of the first step never does.
    part = torch.where(step > 0, high, low) / torch.where(step != 0, step, 1.0)
    share = torch.where(step != 0, part, 1.0).amin(0).clamp(0.0, 1.0)
    uphill = (gradient * along).sum(0) > _DESCENT * (gradient * step * share).sum(0)
    return torch.where(uphill, step * share, along)


def _absolute_step(gradient: Tensor, hessian: Tensor, free: Tensor) -> Tensor:
    """Return ``-|H|^-1 g`` in the free parameters, zero in the others."""
    gradient = torch.where(free, gradient, 0.0)
    if len(gradient) == 1:
        size = hessian[0, 0].abs()
        return -gradient / (size + _CURVATURE_FLOOR)
    both = free[:, None] & free
    fixed = torch.diag_embed((~free).to(gradient).T).movedim(0, -1)
    hessian = torch.where(both, hessian, fixed)
    step = _of_two(gradient, hessian) if len(gradient) == 2 else _of_more(gradient, hessian)
    return torch.where(free, step, 0.0)


def _of_two(gradient: Tensor, hessian: Tensor) -> Tensor:
    """Return the step; a function of a symmetric matrix of two rows is a combination of it and the identity."""
    a, b, c = hessian[0, 0], hessian[0, 1], hessian[1, 1]
    middle, half = 0.5 * (a + c), torch.sqrt((0.5 * (a - c)).square() + b * b)
    high, low = middle + half, middle - half
    largest = torch.maximum(high.abs(), low.abs())
    floor = _CURVATURE_FLOOR + _FLAT[gradient.dtype] * largest
    p, q = torch.maximum(high.abs(), floor), torch.maximum(low.abs(), floor)
    apart = high - low > _APART * largest
    slope = torch.where(apart, (1 / p - 1 / q) / torch.where(apart, high - low, 1.0), -torch.sign(middle) / (p * q))
    shift = 1 / p - slope * high
    along = torch.stack([a * gradient[0] + b * gradient[1], b * gradient[0] + c * gradient[1]])
    return -(shift * gradient + slope * along)


def _of_more(gradient: Tensor, hessian: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(hessian.movedim(-1, 0))
    sizes = values.abs()
    sizes = torch.maximum(sizes, _CURVATURE_FLOOR + _FLAT[gradient.dtype] * sizes.amax(-1, keepdim=True))
    along = (vectors.mT @ gradient.T[..., None])[..., 0] / sizes
    step: Tensor = -(vectors @ along[..., None])[..., 0].T
    return step
