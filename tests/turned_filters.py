"""Derivatives of anisotropic kernels at an angle to the axes, and along them, each with a little noise."""

import math

import torch

from scalekeys.filters import FilterBank, LayerFilters

SIDE = 7


def derivatives(degrees, count, seed=0):
    """Sampled first derivatives of elongated Gaussians along an angle, of various scales; shape (count, rows, cols)."""
    y, x = torch.meshgrid(torch.arange(3.0, -4, -1), torch.arange(-3.0, 4), indexing="ij")
    angle = math.radians(degrees)
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    narrow = torch.linspace(0.9, 1.2, count)[:, None, None]
    filters = along * torch.exp(-(along**2) / (2 * narrow**2) - across**2 / (2 * (2 * narrow) ** 2))
    noise = torch.randn(count, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return filters / torch.linalg.vector_norm(filters, dim=(1, 2), keepdim=True) + 0.01 * noise


def turned_bank(*degrees, count=40):
    """Return a bank of derivatives along some angles."""
    layers = (LayerFilters(f"blocks.{n}.dw", derivatives(d, count, n), depth=n) for n, d in enumerate(degrees))
    return FilterBank(tuple(layers), model="turned")
