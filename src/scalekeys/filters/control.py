"""The random control: noise with the norms of real filters."""

import torch
from torch import Tensor

from scalekeys.filters.bank import FilterBank


def noise_like(bank: FilterBank, *, seed: int = 0) -> FilterBank:
    """Return a bank of white noise with the layers, means and centred norms of `bank`.

    Fitting it in the same way tells how much a model explains by its flexibility alone.

    Parameters
    ----------
    bank : FilterBank
        The bank to imitate; filters that are zero, constant or not finite stay as they are.
    seed : int
        The noise is a function of the seed and of the shapes only.

    Returns
    -------
    FilterBank
        Its layers carry the names of the originals.

    Examples
    --------
    >>> from scalekeys.filters import FilterBank, master_keys
    >>> noise_like(FilterBank.from_tensor(master_keys()), seed=1)
    FilterBank('random control': 8 filters in 1 layer, 7x7)
    """
    generator = torch.Generator().manual_seed(seed)
    stacks = []
    for layer in bank.layers:
        filters = layer.filters.to(torch.float64)
        noise = torch.randn(filters.shape, generator=generator, dtype=torch.float64, device="cpu").to(filters.device)
        mean, norm = _mean_and_norm(filters)
        noise_mean, noise_norm = _mean_and_norm(noise)
        imitation = mean + (noise - noise_mean) * (norm / noise_norm)
        varies = filters.amax((-2, -1), keepdim=True) > filters.amin((-2, -1), keepdim=True)
        stacks.append(torch.where(varies & norm.isfinite(), imitation, filters).to(layer.filters.dtype))
    control = bank.with_filters(stacks)
    return FilterBank(control.layers, model="random control")


def _mean_and_norm(filters: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the centred l2 norm of each filter, with its axes kept."""
    mean = filters.mean((-2, -1), keepdim=True)
    return mean, torch.linalg.vector_norm(filters - mean, dim=(-2, -1), keepdim=True)
