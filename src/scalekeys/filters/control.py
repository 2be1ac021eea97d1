"""The random control: noise with the norms of real filters."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.filters.bank import FilterBank
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.threads import one_thread

_NUMBERS = 2  # mean and norm
_AT_ONCE = 16_384  # filters, whose float64 copies bound the memory


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Noise in the place of filters, as a model: what a replacement costs that keeps nothing but mean and norm.

    Parameters
    ----------
    bank : FilterBank
        The filters.
    noise : FilterBank
        See :func:`noise_like`.
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
        """How many numbers stand for each filter: its mean and its norm; shape (filters,)."""
        return torch.full((len(self.bank),), _NUMBERS)

    @property
    def r2(self) -> Float[Tensor, "filters"]:
        """Share of the energy of the centred filter that the noise explains, which is mostly negative."""
        shares = []
        for layer, noise in zip(self.bank, self.noise, strict=True):
            filters, exponent = in_powers_of_two(layer.kernels.detach().cpu())
            others = noise.kernels.detach().cpu().double() * power_of_two(-exponent)[:, None, None]
            _, norm = mean_and_norm(filters)
            rest = torch.linalg.vector_norm(filters - others, dim=(-2, -1))
            shares.append(1 - (rest / norm[:, 0, 0]).square())
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
        See :func:`noise_like`.

    Examples
    --------
    >>> from scalekeys.filters import FilterBank, master_keys, replacement
    >>> replacement(noise_model(FilterBank.from_tensor(master_keys())))
    Replacement(8 of 8 filters, 16 numbers for 392 taps)
    """
    return NoiseModel(bank, noise_like(bank, seed=seed))


def noise_like(bank: FilterBank, *, seed: int | torch.Generator = 0) -> FilterBank:
    """Return a bank of white noise with the layers, means and centred norms of `bank`.

    Fitting it in the same way tells how much a model explains by its flexibility alone.

    Parameters
    ----------
    bank : FilterBank
        The bank to imitate; filters that are zero, negligible, constant or not finite stay as they are.
    seed : int or torch.Generator
        The noise is a function of the seed and of the shapes only. A generator goes on where it stands, so that the
        layers of a bank, one after the other, get the noise of the whole.

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
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    stacks = []
    for layer, rows in bank.parts():
        noise = torch.randn(layer.kernels.shape, generator=generator, dtype=torch.float64, device="cpu")
        parts = zip(layer.kernels.split(_AT_ONCE), noise.split(_AT_ONCE), strict=True)
        imitated = torch.cat([imitation(filters, part.to(filters.device)) for filters, part in parts])
        kept = bank.negligible[rows, None, None].to(imitated.device)
        stacks.append(torch.where(kept, layer.kernels, imitated))
    control = bank.with_filters(stacks)
    return FilterBank(control.layers, model="random control")


@one_thread()
def imitation(filters: Tensor, noise: Tensor) -> Tensor:
    """Give the noise the means and norms of filters; return filters that do not vary as they are."""
    values, exponent = in_powers_of_two(filters)
    mean, norm = mean_and_norm(values)
    noise_mean, noise_norm = mean_and_norm(noise)
    made = mean + (noise - noise_mean) * (norm / noise_norm)
    varies = values.amax((-2, -1), keepdim=True) > values.amin((-2, -1), keepdim=True)
    made = (made * power_of_two(exponent)[:, None, None]).to(filters.dtype)
    return torch.where(varies & norm.isfinite(), made, filters)


def mean_and_norm(filters: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the centred l2 norm of each filter, with its axes kept."""
    mean = filters.mean((-2, -1), keepdim=True)
    return mean, torch.linalg.vector_norm(filters - mean, dim=(-2, -1), keepdim=True)
