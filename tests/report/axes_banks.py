"""Banks of kernels with one axis, with three, with even sides, and with all of them."""

import torch

from scalekeys.filters import FilterBank, LayerFilters


def smooth_noise(seed, *shape):
    """Noise that is summed along its last axis."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).cumsum(-1)


def bank_of(*sizes, name="network", filters=12):
    """Return a bank with a layer for each size."""
    layers = (LayerFilters(f"blocks.{n}.dw", smooth_noise(n, filters, *size), depth=n) for n, size in enumerate(sizes))
    return FilterBank(tuple(layers), model=name)


BANKS = {
    "time": lambda: bank_of((9,), (9,), (3,), name="time"),
    "video": lambda: bank_of((5, 3, 3), (5, 3, 3), name="video"),
    "even": lambda: bank_of((4,), (4,), (2,), name="even"),
    "mixed": lambda: bank_of((7, 7), (31,), (3, 3, 3), name="mixed"),
}
