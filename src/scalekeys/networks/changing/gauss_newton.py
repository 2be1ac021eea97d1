"""One damped Gauss-Newton step for the weights of the parts of all filters of a layer."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.running.partial_run import Passage
from scalekeys.networks.running.patches import Patches

_SAMPLES = 8_000  # places in maps of one layer from which the curvature is estimated
_RIDGE = 1e-6  # share of the curvature of each filter


def damped_steps(
    rows: Float[Tensor, "filters parts samples"], slope: Float[Tensor, "filters parts"], dampings: Sequence[float]
) -> Iterator[Float[Tensor, "filters parts"]]:
    """Solve for the change of the weights, held back by multiples of each filter's own curvature.

    In the coordinates in which each filter's own curvature is the identity, what holds back is a multiple of the
    identity, so that single precision is enough.

    `rows`, `slope`: see :func:`quadratic`.
    """
    own = (rows @ rows.mT).double()
    diagonal = own.diagonal(dim1=1, dim2=2)
    ridge = _RIDGE * (diagonal + diagonal.mean()).clamp(min=_RIDGE**2)
    to_identity = torch.linalg.inv(torch.linalg.cholesky(own + torch.diag_embed(ridge)))
    rows = (to_identity.to(rows) @ rows).flatten(0, 1)
    aim = (to_identity @ slope[..., None]).to(rows).view(-1, 1)
    curvature = rows @ rows.mT
    for damping in dampings:
        held = curvature.diagonal_scatter(curvature.diagonal() + damping)
        step = torch.cholesky_solve(aim, torch.linalg.cholesky(held))
        yield (to_identity.mT @ step.double().view(*slope.shape, 1))[..., 0]


def quadratic(
    passages: Iterable[tuple[Passage, Tensor]],
    count: int,
    parts: Float[Tensor, "filters parts *taps"],
    group: Tensor,
    seed: int,
) -> tuple[Float[Tensor, "group parts samples"], Float[Tensor, "group parts"]]:
    """Measure the squared difference at the end of a stretch as a function of the weights of some filters.

    Returns gradients of what is sensed, whose products are summed to the curvature, and half the negative gradient.

    `passages`: what the changed network makes of each batch, with gradients, and what it should make of it.
    `count`: the number of inputs in all batches.
    """
    generator = torch.Generator().manual_seed(seed)
    slope = torch.zeros(len(group), parts.shape[1], dtype=torch.float64, device=parts.device)
    rows = []
    for passage, target in passages:
        left = target - passage.target.detach()
        (descent,) = torch.autograd.grad(passage.target, passage.outputs, left, retain_graph=True)
        patches = Patches(passage.inputs, passage.geometry)
        gradient = patches.weighted_sum(descent)[group]
        slope += torch.einsum("ft,fpt->fp", gradient.double().flatten(1), parts[group].double().flatten(2))
        signs = torch.randint(0, 2, passage.target.shape, generator=generator).to(passage.target) * 2 - 1
        (sensed,) = torch.autograd.grad(passage.target, passage.outputs, signs)
        wanted = max(1, _SAMPLES * len(target) // count)
        rows.append(_sampled(patches, sensed, parts, group, wanted, generator))
    return torch.cat(rows, dim=2), slope


def _sampled(
    patches: Patches, sensed: Tensor, parts: Tensor, group: Tensor, wanted: int, generator: torch.Generator
) -> Float[Tensor, "filters parts samples"]:
    """Return the gradients in the weights at some places, each scaled by the root of how many places it stands for."""
    inputs, filters = sensed.shape[:2]
    places = sensed[0, 0].numel()
    samples = min(wanted, inputs * places)
    index = torch.randperm(inputs * places, generator=generator)[:samples].to(sensed.device)
    seen = patches.at(index // places, index % places)
    channel = group // (filters // len(seen))
    if not torch.equal(channel, torch.arange(len(seen), device=channel.device)):
        seen = seen[channel]
    answers = parts[group].to(seen).flatten(2) @ seen
    felt = sensed.transpose(0, 1).flatten(1)[:, index][group]
    rows: Tensor = (answers * felt[:, None]).float() * (inputs * places / samples) ** 0.5
    return rows
