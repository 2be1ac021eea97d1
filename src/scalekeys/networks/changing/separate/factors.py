"""Kernels as sums of a few outer products: nearest in energy, or in the responses to what a layer sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.changing.separate.separable_conv import products
from scalekeys.shapes import FilterStack
from scalekeys.threads import one_thread

_SWEEPS = 30
_SETTLED = 1e-4
"""The share of the error by which a sweep over all axes has to improve for another one to follow."""

_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class LowRank:
    """The kernels of a layer as sums of outer products."""

    factors: tuple[Float[Tensor, "channels side rank"], ...]
    """The filters of each axis of more than one tap."""
    energy: float
    """The share of the energy of the layer that is lost: squared distance from its kernels, by their squared norm."""
    error: float | None
    """The same for the variance of the responses to what the layer sees; None where that is not known."""

    @property
    def rank(self) -> int:
        """The number of outer products for each kernel."""
        return self.factors[0].shape[-1]

    @property
    def loss(self) -> float:
        """The error of the responses where it is known, else that of the energy."""
        return self.energy if self.error is None else self.error


@one_thread()
def low_rank(kernels: FilterStack, rank: int, covariance: Float[Tensor, "channels taps taps"] | None = None) -> LowRank:
    r"""Approximate the kernels of a layer by sums of outer products.

    `kernels`: shape (channels, *sides); finite kernels with two or three sides of more than one tap.
    `rank`: the number of outer products for each kernel.
    `covariance`: shape (channels, taps, taps); of the patches that each kernel sees, see
    :func:`scalekeys.patch_covariance`.

    With two axes and without a covariance the singular value decomposition gives the nearest sum. Otherwise the
    distance :math:`(h - \hat h)^T S (h - \hat h)`, S being the covariance or the identity, is minimised by alternating
    least squares: it is quadratic in the filters of one axis when those of the other axes are held. The start is the
    singular value decomposition; with three axes it is taken of the first axis against both others, and of its right
    singular vectors again, one outer product after another. No sweep makes the distance larger, but with a covariance
    or with three axes the minimum need not be the global one.

    Eckart, Young, Psychometrika 1(3):211-218, 1936. Kolda, Bader, "Tensor decompositions and applications", SIAM Review
    51(3):455-500, 2009, section 3.4 (alternating least squares). Srebro, Jaakkola, "Weighted low-rank approximations",
    ICML 2003.

    >>> from scalekeys.filters import master_keys
    >>> found = low_rank(master_keys(), rank=2)
    >>> [tuple(one.shape) for one in found.factors], found.energy < 0.01
    ([(8, 7, 2), (8, 7, 2)], True)
    """
    size = [side for side in kernels.shape[1:] if side > 1]
    target = kernels.detach().to("cpu", torch.float64).reshape(-1, *size)
    scale = target.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    unit = target / scale.reshape(-1, *[1] * len(size))
    factors = _by_singular_values(unit, rank)
    if covariance is not None or len(size) > 2:
        factors = _alternating(unit, factors, covariance)
    factors[0] = factors[0] * scale[:, None, None]
    residual = (target - products(factors)).flatten(1)
    flat = target.flatten(1)
    error = None if covariance is None else _ratio(_form(residual, covariance), _form(flat, covariance))
    return LowRank(tuple(factors), _ratio(_form(residual, None), _form(flat, None)), error)


def _by_singular_values(target: Tensor, rank: int) -> list[Tensor]:
    """Return the filters of each axis, shape (channels, side, rank), by singular value decompositions."""
    axes = target.ndim - 1
    if axes == 2:
        left, values, right = torch.linalg.svd(target, full_matrices=False)
        root = values[:, None, :rank].sqrt()
        return [_padded(left[..., :rank] * root, rank), _padded(right.mT[..., :rank] * root, rank)]
    rest, terms = target, []
    for _ in range(rank):
        left, values, right = torch.linalg.svd(rest.flatten(2), full_matrices=False)
        planes = (right[:, 0] * values[:, :1]).reshape(-1, *target.shape[2:])
        terms.append([left[..., :1], *_by_singular_values(planes, 1)])
        rest = rest - products(terms[-1])
    return [torch.cat(along, dim=-1) for along in zip(*terms, strict=True)]


def _padded(factor: Tensor, rank: int) -> Tensor:
    """Add filters of zeros where a kernel has fewer singular values than outer products are asked for."""
    return torch.nn.functional.pad(factor, (0, rank - factor.shape[-1]))


def _alternating(target: Tensor, start: Sequence[Tensor], covariance: Tensor | None) -> list[Tensor]:
    """Improve the filters of one axis after the other, until a sweep gains next to nothing."""
    factors, flat = list(start), target.flatten(1)
    before = _form((flat - products(factors).flatten(1)), covariance).clamp_min(0)
    for _ in range(_SWEEPS):
        tried = list(factors)
        for axis in range(len(factors)):
            tried[axis] = _solved(flat, tried, axis, covariance)
        now = _form((flat - products(tried).flatten(1)), covariance).clamp_min(0)
        better = now < before
        factors = [torch.where(better[:, None, None], new, old) for new, old in zip(tried, factors, strict=True)]
        gain, before = before - torch.minimum(now, before), torch.minimum(now, before)
        if float(gain.sum()) <= _SETTLED * float(before.sum()):
            break
    return factors


def _solved(target: Tensor, factors: Sequence[Tensor], axis: int, covariance: Tensor | None) -> Tensor:
    """Return the filters of one axis that are best for those of the others, by least squares."""
    side, rank = factors[axis].shape[1:]
    axes = len(factors)
    others: Tensor = target.new_ones(len(target), *[1] * axes, rank)
    for other, factor in enumerate(factors):
        if other != axis:
            others = others * factor.reshape(-1, *[factor.shape[1] if at == other else 1 for at in range(axes)], rank)
    identity = torch.eye(side, dtype=target.dtype)
    along = identity.reshape(*[side if at == axis else 1 for at in range(axes)], side, 1)
    design = (others[..., None, :] * along).flatten(1, axes).flatten(2)  # (channels, taps, side * rank)
    weighted = design if covariance is None else covariance @ design
    matrix, wanted = design.mT @ weighted, (weighted.mT @ target[..., None])[..., 0]
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    ridge = _RIDGE * diagonal.mean(-1, keepdim=True).expand_as(diagonal).clamp_min(torch.finfo(target.dtype).tiny)
    solved: Tensor = torch.linalg.solve(matrix + torch.diag_embed(ridge), wanted)
    return solved.reshape(-1, side, rank)


def _form(vectors: Tensor, covariance: Tensor | None) -> Tensor:
    """Return the squared length of each vector, in the metric of its covariance."""
    weighted = vectors if covariance is None else (covariance @ vectors[..., None])[..., 0]
    return (vectors * weighted).sum(1)


def _ratio(part: Tensor, whole: Tensor) -> float:
    total = float(whole.sum())
    return float(part.sum().clamp_min(0)) / total if total > 0 else 0.0


def most_rank(size: Sequence[int]) -> int:
    """Return how many outer products a kernel can have before they multiply as often as the kernel itself.

    >>> most_rank((7, 7)), most_rank((3, 3)), most_rank((5, 5, 5)), most_rank((1, 7))
    (3, 1, 8, 0)
    """
    return (prod(size) - 1) // sum(side for side in size if side > 1) if sum(side > 1 for side in size) > 1 else 0
