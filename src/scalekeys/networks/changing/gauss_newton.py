"""One damped Gauss-Newton step for the weights of the parts of all filters of a layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.running.partial_run import Passage
from scalekeys.networks.running.patches import Patches

_SAMPLES = 8_000  # places in maps of one layer from which the curvature is estimated
_RIDGE = 1e-6  # share of the curvature of each filter
_ITERATIONS = 200
_TOLERANCE = 1e-4  # of what is left of a linear system


@dataclass(frozen=True, eq=False)
class Quadratic:
    """What the squared difference at the end of a stretch is near the present weights, up to a constant.

    Parameters
    ----------
    rows : Tensor, shape (samples, filters, parts)
        Gradients of what is sensed, whose products are summed to the curvature.
    slope : Tensor, shape (filters, parts), float64
        Half the negative gradient.
    """

    rows: Float[Tensor, "samples filters parts"]
    slope: Float[Tensor, "filters parts"]

    def steps(self, dampings: Sequence[float]) -> Float[Tensor, "dampings filters parts"]:
        r"""Solve for the change of the weights, held back by some multiples of each filter's own curvature.

        In coordinates in which each filter's own curvature is the identity, dampings are multiples of the identity,
        and the systems :math:`(R^T R + \\delta I) x = s` are solved together by conjugate gradients, without the
        product of R with itself.
        """
        own = torch.einsum("nfp,nfq->fpq", self.rows, self.rows).double()
        diagonal = own.diagonal(dim1=1, dim2=2)
        ridge = _RIDGE * (diagonal + diagonal.mean()).clamp(min=_RIDGE**2)
        factor = torch.linalg.cholesky(own + torch.diag_embed(ridge))
        back = torch.linalg.inv(factor)
        rows = torch.einsum("nfp,fqp->nfq", self.rows, back.to(self.rows)).flatten(1)
        wanted = torch.einsum("fqp,fp->fq", back, self.slope).flatten()
        solved = _conjugate_gradients(rows, wanted.to(rows), rows.new_tensor(dampings))
        return torch.einsum("fqp,fqd->dfp", back, solved.double().unflatten(0, self.slope.shape))


def quadratic(
    passages: Iterable[tuple[Passage, Tensor]],
    count: int,
    parts: Float[Tensor, "filters parts *taps"],
    group: Tensor,
    seed: int,
) -> Quadratic:
    """Measure the squared difference at the end of a stretch as a function of the weights of some filters.

    Parameters
    ----------
    passages : iterable of (Passage, Tensor)
        What the changed network makes of each batch, with gradients, and what it should make of it.
    count : int
        The number of inputs in all batches.
    parts : Tensor, shape (filters, parts, *taps)
    group : Tensor of int64
        Which filters.
    seed : int
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
    return Quadratic(torch.cat(rows), slope)


def _sampled(
    patches: Patches, sensed: Tensor, parts: Tensor, group: Tensor, wanted: int, generator: torch.Generator
) -> Float[Tensor, "samples filters parts"]:
    """Return the gradients in the weights at some places, each scaled by the root of how many places it stands for."""
    inputs, filters = sensed.shape[:2]
    places = sensed[0, 0].numel()
    samples = min(wanted, inputs * places)
    index = torch.randperm(inputs * places, generator=generator)[:samples].to(sensed.device)
    mine, place = index // places, index % places
    seen = patches.at(mine, place)
    seen = seen[..., group // (filters // seen.shape[2])]  # the channel of each filter
    answers = torch.einsum("ntf,fpt->nfp", seen, parts[group].to(seen).flatten(2))
    felt = sensed.movedim(1, -1).flatten(1, -2)[mine, place][:, group]
    return (answers * felt[..., None]).float() * (inputs * places / samples) ** 0.5


def _conjugate_gradients(
    rows: Float[Tensor, "samples unknowns"], wanted: Float[Tensor, " unknowns"], dampings: Float[Tensor, " dampings"]
) -> Float[Tensor, "unknowns dampings"]:
    """Solve ``(rows^T rows + damping) x = wanted`` for several dampings at once."""
    left = wanted[:, None].expand(-1, len(dampings)).clone()
    solved, direction = torch.zeros_like(left), left
    size = start = left.square().sum(0)
    for _ in range(_ITERATIONS):
        if bool((size <= _TOLERANCE**2 * start).all()):
            break
        image = rows.mT @ (rows @ direction) + dampings * direction
        length = size / (direction * image).sum(0).clamp(min=torch.finfo(size.dtype).tiny)
        solved = solved + length * direction
        left = left - length * image
        new = left.square().sum(0)
        direction = left + new / size.clamp(min=torch.finfo(size.dtype).tiny) * direction
        size = new
    return solved
