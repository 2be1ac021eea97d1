"""The random control: noise with the norms of real filters."""

import torch

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
        mean = layer.filters.mean((-2, -1), keepdim=True)
        norm = torch.linalg.vector_norm(layer.filters - mean, dim=(-2, -1), keepdim=True)
        noise = torch.randn(layer.filters.shape, generator=generator, dtype=torch.float64).to(layer.filters)
        noise = noise - noise.mean((-2, -1), keepdim=True)
        noise = noise * (norm / torch.linalg.vector_norm(noise, dim=(-2, -1), keepdim=True))
        stacks.append(torch.where(norm > 0, noise + mean, layer.filters))
    control = bank.with_filters(stacks)
    return FilterBank(control.layers, model="random control")
