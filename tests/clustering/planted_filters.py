"""Filters that are copies of known ones: amplitudes of both signs, offsets, and noise of the same energy."""

import torch
from torch import Tensor

from scalekeys.filters import FilterBank, LayerFilters


def unit(filters: Tensor) -> Tensor:
    """Centred filters of unit norm, as rows."""
    flat = filters.double().flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True)


def planted(truth: Tensor, count: int, seed: int, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return filters and the number of the true one behind each; `noise` is its energy in units of the signal's."""
    generator = torch.Generator().manual_seed(seed)
    lines = unit(truth)
    label = torch.randint(len(lines), (count,), generator=generator)
    amplitude = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    error = torch.randn(count, lines.shape[1], generator=generator, dtype=torch.float64)
    error = unit(error[:, None]) * noise**0.5
    offset = 3 * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return (amplitude * (lines[label] + error) + offset).reshape(count, *truth.shape[1:]), label


def random_truth(count: int, side: int = 7, seed: int = 0) -> Tensor:
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bank_of_several_sizes(seed: int = 0) -> FilterBank:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((3, 3), (7, 7), (4, 4), (5, 5), (7, 7))
    layers = [
        LayerFilters(f"stage{depth}.dw", torch.randn(20, *size, generator=generator), depth=depth)
        for depth, size in enumerate(sizes)
    ]
    return FilterBank(tuple(layers), model="several")
