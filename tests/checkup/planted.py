"""Banks in which one thing is wrong, and banks in which nothing is."""

import numpy as np
import torch

from scalekeys.filters import FilterBank, LayerFilters


def smooth(count=32, sides=(5, 5), seed=0, noise=0.25):
    """Return sampled Gaussians and their derivatives along each axis, of several scales, with some noise."""
    draw = np.random.default_rng(seed)
    kernels = []
    for index in range(count):
        factors, kind = [], draw.integers(len(sides) + 1)
        for axis, side in enumerate(sides):
            place = np.arange(side) - side // 2
            wide = side * draw.uniform(0.16, 0.28)
            gaussian = np.exp(-(place**2) / (2 * wide**2))
            factors.append(-place / wide**2 * gaussian if kind == axis else gaussian)
        kernel = factors[0]
        for factor in factors[1:]:
            kernel = np.multiply.outer(kernel, factor)
        kernel = kernel / np.linalg.norm(kernel)
        grain = draw.standard_normal(sides)
        kernels.append((-1) ** index * kernel + noise * grain / np.linalg.norm(grain))
    return torch.from_numpy(np.stack(kernels)).float()


def white(count=32, sides=(5, 5), seed=0):
    return torch.randn(count, *sides, generator=torch.Generator().manual_seed(seed))


def polynomials(count=32):
    """Return slopes and bowls, which show no end inside 5x5 taps."""
    slope = torch.arange(-2.0, 3.0)
    kernels = torch.stack([slope.expand(5, 5), slope[:, None].expand(5, 5), -(slope**2 + slope[:, None] ** 2)])
    return kernels.repeat(count, 1, 1)[:count] + 0.1 * white(count)


def bank(*layers):
    """Return a bank of layers of these kernels, called a, b, c and so on."""
    return FilterBank(
        tuple(LayerFilters(chr(97 + index), kernels, depth=index) for index, kernels in enumerate(layers)), model="net"
    )
