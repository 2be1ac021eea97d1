"""Filters to measure on: those of real networks, mixtures of the master keys, and white noise."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import scalekeys as sk
from scalekeys.scalespace import IDEAL8, template

_FLAT = 1e-6  # relative to the norm: a filter that is constant but for rounding has nothing to fit


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, side: int, seed: int) -> Tensor:
    return torch.randn(count, side, side, generator=generator(seed))


def mixtures(count: int, side: int, seed: int) -> Tensor:
    """Two random master keys each, with random amplitudes, and noise of a tenth of their size."""
    draw = generator(seed)
    margin = 3 - side // 2
    keys = sk.master_keys().float()[:, margin : 7 - margin, margin : 7 - margin]
    which = torch.randint(len(keys), (count, 2), generator=draw)
    weights = torch.randn(count, 2, 1, 1, generator=draw) * torch.tensor([1.0, 0.3])[:, None, None]
    mixed: Tensor = (weights * keys[which]).sum(1)
    return mixed + 0.1 / side * torch.randn(count, side, side, generator=draw)


def planted(count: int, size: tuple[int, int], scale: float, noise_share: float, seed: int) -> Tensor:
    """Idealized filters of random families and amplitudes with scales around the given one, and a share of noise.

    `noise_share` is that of the energy, from 0 to 1.
    """
    draw = generator(seed)
    sigma = scale * (0.3 * torch.randn(count, 2, generator=draw)).exp()
    which = torch.randint(len(IDEAL8), (count,), generator=draw)
    filters = torch.empty(count, *size)
    for number, family in enumerate(IDEAL8):
        of_family = which == number
        strength = torch.full((int(of_family.sum()),), 0.5) if family == "sharpen" else None
        filters[of_family] = template(family, sigma[of_family], size, alpha=strength)
    filters /= torch.linalg.vector_norm(filters, dim=(1, 2), keepdim=True).clamp(min=1e-9)
    rest = torch.randn(count, *size, generator=draw) / (size[0] * size[1]) ** 0.5
    mixed: Tensor = (1 - noise_share) ** 0.5 * filters + noise_share**0.5 * rest
    return mixed * torch.randn(count, 1, 1, generator=draw)


def tiled(filters: Tensor, count: int, seed: int) -> Tensor:
    """As many filters as wanted: the given ones again and again, with noise of a hundredth of their norms."""
    side = filters.shape[-1]
    many = filters.float().repeat(-(-count // len(filters)), 1, 1)[:count]
    norms = torch.linalg.vector_norm(many, dim=(1, 2), keepdim=True)
    noisy: Tensor = many + 0.01 / side * norms * torch.randn(many.shape, generator=generator(seed))
    return noisy


def real(sources: Sequence[str], side: int, count: int, seed: int) -> tuple[Tensor, str]:
    """Choose filters of networks at random, without repetition, and say where they come from.

    Where the networks have fewer of this size, all are taken, and central parts of larger ones fill up.
    """
    banks = [sk.extract(source) for source in sources]
    own = [bank.of_size((side, side))[0] for bank in banks if (side, side) in bank.sizes]
    larger = [
        _centre(bank.of_size(size)[0], side) for bank in banks for size in bank.sizes if size[0] == size[1] > side
    ]
    first, second = _shuffled(own, side, seed), _shuffled(larger, side, seed + 1)
    chosen = torch.cat([first[:count], second[: max(0, count - len(first))]])
    names = ", ".join(Path(source).name for source in sources)
    note = f"{min(count, len(first))} of {len(first)} {side}x{side} filters of {names or 'no network'}"
    if len(chosen) > len(first):
        note += f", and the central parts of {len(chosen) - len(first)} larger ones"
    return chosen, note


def real_or_mixtures(sources: Sequence[str], side: int, count: int, seed: int) -> tuple[Tensor, str]:
    """Filters of networks, tiled with slight noise, or mixtures of the master keys where there is no network."""
    if sources:
        found, note = real(sources, side, count, seed)
        if len(found):
            return tiled(found, count, seed), note + ", repeated with noise of 1 % of the norm"
    return mixtures(count, side, seed), "mixtures of two master keys with noise"


def _centre(filters: Tensor, side: int) -> Tensor:
    margin = (filters.shape[-1] - side) // 2
    return filters[:, margin : margin + side, margin : margin + side]


def _shuffled(stacks: list[Tensor], side: int, seed: int) -> Tensor:
    """Join stacks, drop filters without anything to fit, and put the rest into a random order."""
    filters = torch.cat([torch.empty(0, side, side), *(stack.float() for stack in stacks)])
    flat = filters.flatten(1).double()
    centred = (flat - flat.mean(-1, keepdim=True)).norm(dim=-1)
    filters = filters[(centred > _FLAT * flat.norm(dim=-1)) & flat.isfinite().all(-1)]
    return filters[torch.randperm(len(filters), generator=generator(seed))]
