r"""Dead filters: filters that are zero, or so small compared with the others of their network that they have no effect.

Norms are compared as binary logarithms, so that filters of any magnitude can be compared.
"""

from collections.abc import Sequence
from math import ceil, inf, log2
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scalekeys.filters.scaling import in_powers_of_two
from scalekeys.shapes import FilterStack
from scalekeys.threads import one_thread


class _Layer(Protocol):
    """What is asked of a layer."""

    @property
    def kernels(self) -> FilterStack: ...

    @property
    def floor(self) -> float | None: ...


NEGLIGIBLE = 1e-4
"""A filter whose norm is below this share of the level of its layer is negligible, and so is a layer in its network."""

_FILTERS_ABOVE = 1 / 20  # a level is the norm that this share of the filters of a layer reach ...
_LAYERS_ABOVE = 1 / 4  # ... and the level that this share of the layers of a network reach
_AT_ONCE = 16_384  # filters, whose float64 copies bound the memory


@one_thread()
def layer_level(filters: FilterStack) -> float:
    """Return the level of a layer: the norm, as a binary logarithm, that its twentieth largest part reaches.

    Of three filters or more at least two reach the level, so that one huge filter does not decide. Filters that are
    zero or not finite do not count.

    >>> filters = torch.ones(10, 2, 2)
    >>> filters[0] *= 1e6
    >>> layer_level(filters)
    1.0
    """
    return _reached(_log_norms(filters), _FILTERS_ABOVE)


def floors(levels: Sequence[float]) -> list[float]:
    """Return for each layer of a network the norm, as a binary logarithm, below which its filters are negligible.

    `levels`: see :func:`layer_level`.

    A layer is measured by its own level, unless this level is out of proportion to that of the network, which a quarter
    of its layers reach: then most filters of the layer are dead, or huge, and it is measured by the network's.

    >>> below = floors([1.0, 0.0, -130.0])
    >>> [round(value, 1) for value in below]
    [-12.3, -13.3, -13.3]
    """
    whole = _reached(torch.tensor(levels, dtype=torch.float64), _LAYERS_ABOVE)
    share = log2(NEGLIGIBLE)
    return [share + (level if abs(level - whole) <= -share else whole) for level in levels]


@one_thread()
def negligible_filters(layers: Sequence[_Layer]) -> Bool[Tensor, "filters"]:
    """Mark the filters of a network that are negligible, though not zero.

    `layers`: those of the whole network, or layers that have a floor.

    Negligible is what lies below the floor of its layer, and a filter whose weights are all subnormal numbers of their
    type, which weight decay leaves where it has nothing more to take away.
    """
    known = [layer.floor for layer in layers]
    if any(floor is None for floor in known):
        own = floors([layer_level(layer.kernels) for layer in layers])
        known = [mine if floor is None else floor for floor, mine in zip(known, own, strict=True)]
    marks = [_below(layer.kernels, floor) for layer, floor in zip(layers, known, strict=True) if floor is not None]
    return torch.cat([torch.zeros(0, dtype=torch.bool), *marks])


def _below(filters: FilterStack, floor: float) -> Bool[Tensor, "filters"]:
    norms, largest = _log_norms(filters), filters.detach().abs().flatten(1).amax(-1).cpu()
    subnormal = (largest > 0) & (largest < torch.finfo(filters.dtype).tiny)
    return (norms > -inf) & (norms < floor) | subnormal


def _log_norms(filters: FilterStack) -> Float[Tensor, "filters"]:
    """Return the binary logarithm of the norm of each filter; of zero minus infinity, NaN where it is not finite."""
    parts = []
    for some in filters.detach().split(_AT_ONCE):
        scaled, exponent = in_powers_of_two(some, axes=some.ndim - 1)
        norm: Tensor = torch.linalg.vector_norm(scaled.flatten(1), dim=-1)
        parts.append(torch.where(norm.isinf(), torch.nan, norm.log2() + exponent).cpu())
    return torch.cat(parts)


def _reached(values: Float[Tensor, "items"], share: float) -> float:
    """Return what a share of the finite values reach, of three or more at least two; minus infinity where none is."""
    ranked = values[values.isfinite()].sort(descending=True).values
    if not len(ranked):
        return -inf
    return float(ranked[0 if len(ranked) < 3 else max(2, ceil(share * len(ranked))) - 1])
