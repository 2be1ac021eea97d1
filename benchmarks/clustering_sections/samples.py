"""Filters to cluster: copies of known ones in noise, and those of networks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

import scalekeys as sk


def unit(filters: Tensor) -> Tensor:
    """Return centred filters of unit norm as rows, float64; those that are constant or not finite are left out."""
    flat = filters.double().flatten(1)
    flat = flat[flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))]
    centred = flat - flat.mean(1, keepdim=True)
    rows: Tensor = centred / torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return rows


def planted(truth: Tensor, count: int, seed: int, noise: str) -> Tensor:
    """Return noisy copies of filters, with normal amplitudes of both signs and with offsets.

    Parameters
    ----------
    noise : {"each", "all"}
        `each`: the noise of a filter has the energy of its own signal. `all`: the noise has one variance, and over
        all filters the energy of the signal, so that copies of small amplitude are mostly noise.
    """
    generator = torch.Generator().manual_seed(seed)
    lines = unit(truth)
    label = torch.randint(len(lines), (count,), generator=generator)
    amplitude = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    error = torch.randn(count, lines.shape[1], generator=generator, dtype=torch.float64)
    error -= error.mean(1, keepdim=True)
    size = (
        torch.linalg.vector_norm(error, dim=1, keepdim=True) / amplitude.abs()
        if noise == "each"
        else (lines.shape[1] - 1) ** 0.5
    )
    offset = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    filters: Tensor = amplitude * lines[label] + error / size + offset
    return filters.reshape(count, *truth.shape[1:])


def largest_kernels(sources: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield a name and the filters of the largest kernel size of each network, without those that are negligible."""
    for source in sources:
        bank = sk.extract(source)
        rows, cols = bank.sizes[0]
        filters, places = bank.of_size(bank.sizes[0])
        yield f"{Path(source).stem} {rows}x{cols}", filters[~bank.negligible[places]]
