"""Whether kernels survive the number formats in which networks are run."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from scalekeys.checkup.advice import CERTAIN, Advice, Place
from scalekeys.checkup.evidence import Evidence, largest_first, named
from scalekeys.errors import counted

_LOST = 0.01
"""The share of its norm that a filter may lose in half precision, where rounding of normal numbers takes 0.0005."""

_STEPS = 127
"""Of an integer of eight bits, from zero to the largest weight."""


def lost_in_half_precision(evidence: Evidence) -> Advice | None:
    """Find live filters that overflow in float16, or fall below what it can tell from zero."""
    places = _places(evidence, _changed_by_half)
    if not places:
        return None
    count, limits = sum(place.filters for place in places), torch.finfo(torch.float16)
    return Advice(
        "half-precision",
        f"{counted(count, 'live filter')} would be lost in float16: {named([place.layer for place in places])}.",
        f"Rounded to float16 they are infinite, or change by more than {100 * _LOST:.0f} % of their norm: taps above "
        f"{limits.max:.0f} overflow, and below {limits.tiny:.1e} precision is lost. Filters of usual size change by "
        "0.05 % at most.",
        "Run these layers in bfloat16 or float32, or move a factor of each filter into the batch norm behind it.",
        None,
        "Moving a factor changes no output.",
        CERTAIN,
        evidence.share(places),
        places,
        "share of filters that are lost",
    )


def lost_in_eight_bits(evidence: Evidence) -> Advice | None:
    """Find live filters that become zero if a layer has one scale for all its filters in integers of eight bits."""
    places = _places(evidence, _zero_in_eight_bits)
    if not places:
        return None
    count = sum(place.filters for place in places)
    become = "becomes" if count == 1 else "become"
    return Advice(
        "eight-bits",
        f"{counted(count, 'live filter')} {become} zero in integers of eight bits with one scale a layer: "
        f"{named([place.layer for place in places])}.",
        f"No tap reaches half a step, which is a {2 * _STEPS}th of the largest tap of the layer. With a scale for each "
        "channel no live filter becomes zero.",
        "Quantise with one scale for each channel.",
        None,
        "One number more for each channel.",
        CERTAIN,
        evidence.share(places),
        places,
        "share of filters that become zero",
    )


def _changed_by_half(kernels: Tensor) -> Bool[Tensor, "filters"]:
    rows = kernels.flatten(1)
    change = torch.linalg.vector_norm(rows - rows.half().double(), dim=1)
    kept: Tensor = change <= _LOST * torch.linalg.vector_norm(rows, dim=1)
    return ~kept


def _zero_in_eight_bits(kernels: Tensor) -> Bool[Tensor, "filters"]:
    largest = kernels.flatten(1).abs().amax(1)
    return largest < largest.max() / (2 * _STEPS)


def _places(evidence: Evidence, lost: Callable[[Tensor], Tensor]) -> tuple[Place, ...]:
    """Return the layers with live filters that are lost."""
    counts = ((layer, int(lost(layer.kernels).sum())) for layer in evidence.layers)
    return largest_first(layer.place(count, count / len(layer.filters)) for layer, count in counts if count)
