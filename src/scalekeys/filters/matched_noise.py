"""The matched control: Gaussian noise as smooth and as wide as the filters of a layer, without their form."""

from math import sqrt

import torch
from torch import Tensor

from scalekeys.filters.bank import FilterBank
from scalekeys.filters.control import imitation, mean_and_norm
from scalekeys.filters.scaling import in_powers_of_two
from scalekeys.shapes import FilterStack, over_taps
from scalekeys.threads import one_thread

_AT_ONCE = 2**26  # random numbers, which bound the memory


def matched_noise_like(bank: FilterBank, *, seed: int | torch.Generator = 0) -> FilterBank:
    r"""Return a bank of Gaussian noise with the layers, means and centred norms of `bank`, and its second moments.

    White noise is an easy opponent: any smooth kernel beats it. Matched noise shares with the filters of a layer how
    taps vary together, and so their smoothness and width; what a model explains beyond it is not due to these alone.

    Parameters
    ----------
    bank : FilterBank
        The bank to imitate; filters that are zero, negligible, constant or not finite stay as they are, and say nothing
        about the others.
    seed : int or torch.Generator
        The random numbers are a function of the seed and of the shapes only. A generator continues from its state.

    Returns
    -------
    FilterBank
        Its layers carry the names of the originals.

    Notes
    -----
    With the n filters of a layer, centred and of unit norm, as the rows of X, a draw is :math:`X^T g / \sqrt{n}` with
    independent standard normal numbers g. Its covariance is :math:`X^T X / n`, the second moments of the filters over
    taps: exactly, and for any number of filters, without the root of a matrix. Each draw then gets the mean and the
    centred norm of the filter that it replaces. A layer of one filter gives this filter, with either sign.

    See Also
    --------
    white_noise_like : noise that shares means and norms alone.

    Examples
    --------
    >>> from scalekeys.filters import FilterBank, master_keys
    >>> matched_noise_like(FilterBank.from_tensor(master_keys()), seed=1)
    FilterBank('matched noise': 8 filters in 1 layer, 7x7)
    """
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    stacks = []
    for layer, rows in bank.parts():
        kept = bank.negligible[rows].to(layer.kernels.device)
        made = _imitations(layer.kernels, _factor(layer.kernels[~kept]), generator)
        stacks.append(torch.where(over_taps(kept, layer.axes), layer.kernels, made))
    control = bank.with_filters(stacks)
    return FilterBank(control.layers, model="matched noise")


@one_thread()
def _imitations(filters: FilterStack, factor: Tensor, generator: torch.Generator) -> FilterStack:
    if not len(filters):
        return filters
    at_once = max(1, _AT_ONCE // max(1, len(factor)))
    return torch.cat([imitation(part, _draws(part, factor, generator)) for part in filters.split(at_once)])


def _draws(like: FilterStack, factor: Tensor, generator: torch.Generator) -> FilterStack:
    numbers = torch.randn(len(like), len(factor), generator=generator, dtype=torch.float64, device="cpu")
    return (numbers.to(factor.device) @ factor).view(like.shape)


@one_thread()
def _factor(filters: FilterStack) -> Tensor:
    """Return a matrix with rows of taps whose Gaussian combinations have the second moments of the filters.

    These are the filters themselves; where there are more of them than taps, the triangle of their QR decomposition,
    which has the same second moments.
    """
    values, _ = in_powers_of_two(filters, axes=filters.ndim - 1)
    mean, norm = mean_and_norm(values)
    varying = values.flatten(1).amax(1) > values.flatten(1).amin(1)
    rows = ((values - mean) / norm)[varying & norm.isfinite().flatten()].flatten(1)
    factor: Tensor = torch.linalg.qr(rows, mode="r").R if len(rows) > rows.shape[1] else rows
    return factor / sqrt(max(1, len(rows)))
