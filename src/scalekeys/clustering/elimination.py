"""Greedy elimination: of many candidate keys, drop again and again the one whose absence costs least."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.filters.assignment import unit_keys

Measure: TypeAlias = Callable[[Sequence[int]], float]

_AT_ONCE = 2**24  # numbers of the largest intermediate array
_SHARE = 8  # a measured round drops one of so many candidates


@dataclass(frozen=True)
class Round:
    """One round of an elimination.

    `removed`: the candidates that were dropped, the cheapest first.
    `left`: how many candidates remain.
    `loss`: the response error of the filters with the candidates that remain, see :class:`CandidateErrors`.
    `cost`: what was measured for the candidates that remain; None where one round dropped several candidates, or
    dropped one by the response error alone.
    """

    removed: tuple[int, ...]
    left: int
    loss: float
    cost: float | None


@dataclass(frozen=True, eq=False)
class CandidateErrors:
    """How alike filters and candidates are, and what each candidate costs in the place of each filter.

    `similarity`: shape (filters, candidates); size of the product of the centred filter with the centred candidate of
    norm 1. The largest decides which candidate stands for a filter, as in :func:`scalekeys.assign_keys`.
    `errors`: shape (filters, candidates); energy of the response error, as a share of the energy of all responses of
    the layer. The sum over all filters, each with its candidate, is the loss; a layer contributes 1 where nothing
    remains of its responses.
    """

    similarity: Float[Tensor, "filters candidates"]
    errors: Float[Tensor, "filters candidates"]

    @classmethod
    def of(
        cls,
        bank: FilterBank,
        candidates: Float[Tensor, "candidates *sides"],
        covariances: Mapping[str, Float[Tensor, "channels taps taps"]],
    ) -> "CandidateErrors":
        """Compare the filters of a network with candidates, by the covariance of the patches that each filter sees.

        `candidates`: shape (candidates, *sides).
        `covariances`: of shape (channels, taps, taps); by the names of layers, see
        :attr:`scalekeys.fitting.PatchCovariance.layers`. The filters of other layers are left out, as are filters that
        are negligible, constant or not finite, or have another number of axes than the candidates.
        Raises ModelError if no filter remains.
        """
        parts = [
            _compared(layer, ~bank.negligible[mine], candidates.double(), covariances[layer.name])
            for layer, mine in bank.parts()
            if layer.name in covariances and layer.axes == candidates.ndim - 1
        ]
        if not sum(len(similarity) for similarity, _ in parts):
            raise ModelError(f"{bank.model}: has no filter that a candidate could replace and that any input reaches")
        similarity, errors = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return cls(similarity, errors)

    def loss(self, left: Sequence[int]) -> float:
        """Return the loss when each filter has the most similar of some candidates."""
        chosen = torch.as_tensor(left)
        best = self.similarity[:, chosen].argmax(1, keepdim=True)
        return float(self.errors[:, chosen].gather(1, best).sum())


class _Left:
    """The candidates that remain, with the most similar one and the runner-up of each filter.

    Dropping a candidate changes the filters alone that have it as the most similar one or as the runner-up.
    """

    def __init__(self, compared: CandidateErrors) -> None:
        self._similarity, self._errors = compared.similarity.clone(), compared.errors
        self.indices = list(range(self._similarity.shape[1]))
        self._two = self._similarity.topk(2, dim=1).indices

    @property
    def loss(self) -> float:
        return float(self._errors.gather(1, self._two[:, :1]).sum())

    def cheapest(self) -> list[int]:
        """Return the candidates in the order of what the loss grows by without each."""
        first, second = self._errors.gather(1, self._two).unbind(1)
        growth = torch.zeros(self._errors.shape[1], dtype=self._errors.dtype)
        growth.index_add_(0, self._two[:, 0], second - first)
        left = torch.tensor(self.indices)
        return left[growth[left].argsort(stable=True)].tolist()

    def drop(self, candidate: int) -> None:
        self.indices.remove(candidate)
        self._similarity[:, candidate] = -1.0
        touched = (self._two == candidate).any(1).nonzero()[:, 0]
        if len(self.indices) == 1:
            self._two[:] = self.indices[0]
        else:
            self._two[touched] = self._similarity[touched].topk(2, dim=1).indices


def eliminate(
    compared: CandidateErrors, keep: int, measure: Measure | None = None, *, tries: int = 3, measured: int = 32
) -> list[Round]:
    """Drop candidates until `keep` of them remain.

    `keep`: how many candidates remain.
    `measure`: gives what some candidates cost, such as the share of images that a network with them classifies wrongly.
    Without it the response error alone decides.
    `tries`: how many candidates are measured to find one to drop: the cheapest by the response error.
    `measured`: with so many candidates or fewer the measured cost decides; with more the response error.
    Raises ModelError if there are not more candidates than are kept, or a number is too small.

    This is backward elimination, with the response error as a filter for what is worth measuring. A removal changes
    only the filters of the candidate that goes, whose runner-up is known, so that the response error of all removals
    takes one pass over the filters. A measured round drops an eighth of the candidates at once, those that are
    cheapest each by itself, so that the number of measurements grows with the logarithm of `measured`.
    """
    check_numbers(compared.similarity.shape[1], keep, tries, measured)
    left, rounds = _Left(compared), []
    while len(left.indices) > keep:
        order, costs = left.cheapest(), dict[int, float]()
        count = 1
        if measure is not None and len(left.indices) <= measured:
            count = _dropped(len(left.indices), keep)
            tried = order[: count + tries - 1]
            costs = {one: measure([other for other in left.indices if other != one]) for one in tried}
            order = sorted(tried, key=costs.__getitem__)  # stable: of equal costs the smaller response error
        for candidate in order[:count]:
            left.drop(candidate)
        cost = costs.get(order[0]) if count == 1 else None
        rounds.append(Round(tuple(order[:count]), len(left.indices), left.loss, cost))
    return rounds


def measurements(candidates: int, keep: int, tries: int = 3, measured: int = 32) -> int:
    """Return how often :func:`eliminate` measures.

    >>> measurements(64, 8), measurements(64, 8, measured=64)
    (50, 94)
    """
    total, left = 0, min(candidates, measured)
    while left > keep:
        count = _dropped(left, keep)
        total += min(left, count + tries - 1)
        left -= count
    return total


def check_numbers(candidates: int, keep: int, tries: int, measured: int) -> None:
    """Refuse numbers with which nothing can be eliminated."""
    if not 1 <= keep < candidates:
        raise ModelError(
            f"elimination keeps at least one of the candidates and drops at least one; got keep={keep} of "
            f"{candidates} candidates"
        )
    if tries < 1 or measured < 0:
        raise ModelError(f"tries must be at least 1 and measured at least 0, got {tries} and {measured}")


def distinct(filters: Float[Tensor, "filters *sides"], threshold: float = 0.99) -> Float[Tensor, "distinct *sides"]:
    """Leave out filters that correlate with an earlier one by a threshold or more, whatever the sign.

    Constant filters are left out too.

    >>> from scalekeys.filters import master_keys
    >>> len(distinct(torch.cat([master_keys(), 2 - 3 * master_keys()])))
    8
    """
    unit, usable = unit_keys(filters.double(), tuple(filters.shape[1:]))
    rows = unit[usable].flatten(1)
    like = (rows @ rows.T).abs().tril_(-1).amax(1)
    return filters[usable][like < threshold]


def _dropped(left: int, keep: int) -> int:
    return min(max(1, left // _SHARE), left - keep)


def _compared(
    layer: LayerFilters, usable: Tensor, candidates: Tensor, covariance: Float[Tensor, "channels taps taps"]
) -> tuple[Tensor, Tensor]:
    """Return similarity and errors of the usable filters of a layer."""
    flat = layer.kernels.detach().cpu().double().flatten(1)
    usable = usable & flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))
    unit = unit_keys(candidates, layer.size)[0].flatten(1)
    centred = (flat - flat.mean(1, keepdim=True))[usable]
    seen = covariance[usable]
    products = centred @ unit.T
    filtered = (seen @ centred[:, :, None])[..., 0]
    energy = (filtered * centred).sum(1, keepdim=True)
    at_once = max(1, _AT_ONCE // max(1, unit.numel()))
    own = [((part @ unit.T) * unit.T).sum(1) for part in seen.split(at_once)]  # u^T S u of each filter and candidate
    errors = energy - 2 * products * (filtered @ unit.T) + products.square() * torch.cat(own)
    return products.abs(), errors.clamp_min(0) / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)
