"""The white control: independent random taps with the means and norms of real filters."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.filters.bank import FilterBank
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.shapes import FilterStack, kernel_dims, over_taps
from scalekeys.threads import one_thread

_NUMBERS = 2  # mean and norm
_AT_ONCE = 16_384  # filters, whose float64 copies bound the memory


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Noise in the place of filters, as a model that keeps only their means and norms.

    Parameters
    ----------
    bank : FilterBank
        The filters.
    noise : FilterBank
        See :func:`white_noise_like`.
    """

    bank: FilterBank
    noise: FilterBank

    def __repr__(self) -> str:
        return f"NoiseModel({self.bank!r})"

    @property
    def family(self) -> np.ndarray:
        """``"noise"``, or an empty string where a filter is constant or not finite; shape (filters,)."""
        return np.where(self.r2.isfinite().numpy(), "noise", "")

    @property
    def numbers(self) -> Int[Tensor, "filters"]:
        """How many numbers describe each filter: its mean and its norm; shape (filters,)."""
        return torch.full((len(self.bank),), _NUMBERS)

    @property
    def r2(self) -> Float[Tensor, "filters"]:
        """Share of the energy of the centred filter that the noise explains, which is mostly negative."""
        shares = []
        for layer, noise in zip(self.bank, self.noise, strict=True):
            filters, exponent = in_powers_of_two(layer.kernels.detach().cpu(), axes=layer.axes)
            others = noise.kernels.detach().cpu().double() * over_taps(power_of_two(-exponent), layer.axes)
            _, norm = mean_and_norm(filters)
            rest = torch.linalg.vector_norm((filters - others).flatten(1), dim=-1)
            shares.append(1 - (rest / norm.flatten()).square())
        return torch.cat(shares)

    def kernels(self) -> FilterBank:
        """Return the noise, in the layers of the filters."""
        return self.bank.with_filters([layer.kernels for layer in self.noise])


def noise_model(bank: FilterBank, *, seed: int = 0) -> NoiseModel:
    """Model each filter by noise of its mean and norm, as a control for replacements by other models.

    Parameters
    ----------
    bank : FilterBank
    seed : int
        See :func:`white_noise_like`.

    Examples
    --------
    >>> from scalekeys.filters import FilterBank, master_keys, replacement
    >>> replacement(noise_model(FilterBank.from_tensor(master_keys())))
    Replacement(8 of 8 filters, 16 numbers for 392 taps)
    """
    return NoiseModel(bank, white_noise_like(bank, seed=seed))


def white_noise_like(bank: FilterBank, *, seed: int | torch.Generator = 0) -> FilterBank:
    """Return a bank of white noise with the layers, means and centred norms of `bank`.

    White noise shares nothing else with the filters. A fit to white noise shows how much a model explains by its
    flexibility alone: a model that explains no more of the filters says nothing about the filters.

    Parameters
    ----------
    bank : FilterBank
        The bank to imitate; filters that are zero, negligible, constant or not finite stay as they are.
    seed : int or torch.Generator
        The noise is a function of the seed and of the shapes only. A generator continues from its state, so that the
        layers of a bank, one after the other, get the noise of the whole.

    Returns
    -------
    FilterBank
        Its layers carry the names of the originals.

    See Also
    --------
    matched_noise_like : noise that also shares the covariance between the taps of a layer.

    Examples
    --------
    >>> from scalekeys.filters import FilterBank, master_keys
    >>> white_noise_like(FilterBank.from_tensor(master_keys()), seed=1)
    FilterBank('white noise': 8 filters in 1 layer, 7x7)
    """
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    stacks = []
    for layer, rows in bank.parts():
        noise = torch.randn(layer.kernels.shape, generator=generator, dtype=torch.float64, device="cpu")
        parts = zip(layer.kernels.split(_AT_ONCE), noise.split(_AT_ONCE), strict=True)
        imitated = torch.cat([imitation(filters, part.to(filters.device)) for filters, part in parts])
        kept = over_taps(bank.negligible[rows], layer.axes).to(imitated.device)
        stacks.append(torch.where(kept, layer.kernels, imitated))
    control = bank.with_filters(stacks)
    return FilterBank(control.layers, model="white noise")


@one_thread()
def imitation(filters: FilterStack, noise: FilterStack) -> FilterStack:
    """Give the noise the means and norms of filters; return filters that do not vary as they are."""
    axes = filters.ndim - 1
    values, exponent = in_powers_of_two(filters, axes=axes)
    mean, norm = mean_and_norm(values)
    noise_mean, noise_norm = mean_and_norm(noise)
    made = mean + (noise - noise_mean) * (norm / noise_norm)
    varies = values.amax(kernel_dims(axes), keepdim=True) > values.amin(kernel_dims(axes), keepdim=True)
    made = (made * over_taps(power_of_two(exponent), axes)).to(filters.dtype)
    return torch.where(varies & norm.isfinite(), made, filters)


def mean_and_norm(filters: FilterStack) -> tuple[Tensor, Tensor]:
    """Return the mean and the centred l2 norm of each filter, with its axes kept."""
    dims = kernel_dims(filters.ndim - 1)
    mean = filters.mean(dims, keepdim=True)
    return mean, torch.linalg.vector_norm(filters - mean, dim=dims, keepdim=True)
