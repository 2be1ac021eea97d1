"""Which covariance of patches belongs to which filter of a bank."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting.patch_covariance import PatchCovariance, natural_covariance_of
from scalekeys.shapes import ArrayLike, as_float_tensor


def metric_of(
    bank: FilterBank, covariance: PatchCovariance | ArrayLike | None
) -> Callable[[Tensor], Float[Tensor, "filters taps taps"]]:
    """Return a function from positions in a bank, of filters of one size, to the covariances of what they see.

    `covariance`: of shape (taps, taps) or (filters, taps, taps), or None; see :func:`scalekeys.fit`.
    Raises FilterError if a layer is missing, or shapes do not go together, or numbers are not finite.
    """
    if covariance is None:
        own = list(map(natural_covariance_of, bank.layers))
    elif isinstance(covariance, PatchCovariance):
        own = [_of_layer(layer, covariance) for layer in bank.layers]
    else:
        own = _shared_out(as_float_tensor(covariance).detach().double(), bank)
    starts = torch.tensor([0, *(len(layer) for layer in bank.layers)]).cumsum(0)

    def metric(positions: Tensor) -> Tensor:
        layer = torch.searchsorted(starts, positions, right=True) - 1
        pieces = []
        for index in torch.unique_consecutive(layer).tolist():
            mine = positions[layer == index] - starts[index]
            pieces.append(own[index].expand(len(bank.layers[index]), -1, -1)[mine])
        return torch.cat(pieces)

    return metric


def _of_layer(layer: LayerFilters, covariance: PatchCovariance) -> Tensor:
    taps, found = layer.kernels[0].numel(), covariance.layers.get(layer.name)
    if found is None:
        seen = "nothing went through it" if layer.name in covariance.unseen else "it was not measured"
        raise FilterError(
            f"layer {layer.name!r}: the covariance says nothing of it, {seen}; measure it with this network"
        )
    if found.shape != (len(layer), taps, taps):
        raise FilterError(
            f"layer {layer.name!r}: has {len(layer)} filters of {taps} taps, but the covariance has shape "
            f"{tuple(found.shape)}"
        )
    return found


def _shared_out(covariance: Tensor, bank: FilterBank) -> list[Tensor]:
    """Share one matrix, or one for each filter, out to the layers."""
    taps = {layer.kernels[0].numel() for layer in bank.layers}
    count = len(bank)
    if len(taps) > 1 or covariance.shape not in {(t, t) for t in taps} | {(count, t, t) for t in taps}:
        sizes = ", ".join(map(str, sorted(taps)))
        raise FilterError(
            f"covariance must have shape (taps, taps) or ({count}, taps, taps) for filters of {sizes} taps, got "
            f"{tuple(covariance.shape)}; for several sizes give a PatchCovariance"
        )
    if not bool(covariance.isfinite().all()):
        raise FilterError("covariance has entries that are not finite")
    symmetric = (covariance + covariance.mT) / 2
    if symmetric.ndim == 2:
        return [symmetric[None]] * len(bank.layers)
    return list(symmetric.split([len(layer) for layer in bank.layers]))
