"""Whether kernels survive the number formats in which networks are run."""

import torch

from scalekeys.checkup.advice import CERTAIN, Advice, Place
from scalekeys.checkup.evidence import Evidence, named
from scalekeys.shapes import size_text

_HALF = torch.finfo(torch.float16)
_STEPS = 127
"""Of an integer of eight bits, from zero to the largest weight."""


def lost_in_half_precision(evidence: Evidence) -> Advice | None:
    """Find live filters that overflow in float16, or fall below its smallest normal number."""

    def lost(largest: torch.Tensor) -> torch.Tensor:
        return (largest > _HALF.max) | (largest < _HALF.tiny)

    places = _places(evidence, lambda largest: lost(largest))
    if not places:
        return None
    count = sum(place.filters for place in places)
    return Advice(
        "half-precision",
        f"{count} live filters do not fit into float16: {named([place.layer for place in places])}.",
        f"Their largest tap is beyond {_HALF.max:.0f} or below {_HALF.tiny:.1e}, the smallest normal number.",
        "Run these layers in bfloat16 or float32, or fold a factor of each filter into the batch normalisation behind it.",
        None,
        "Folding a factor changes no output.",
        CERTAIN,
        evidence.share(count),
        places,
        "share of filters that do not fit",
    )


def lost_in_eight_bits(evidence: Evidence) -> Advice | None:
    """Find live filters that become zero if a layer has one scale for all its filters in integers of eight bits."""
    places = _places(evidence, lambda largest: largest < largest.max() / (2 * _STEPS))
    if not places:
        return None
    count = sum(place.filters for place in places)
    return Advice(
        "eight-bits",
        f"{count} live filters become zero in integers of eight bits with one scale a layer: "
        f"{named([place.layer for place in places])}.",
        f"Their largest tap is less than half a step, a {2 * _STEPS}th of the largest tap of the layer.",
        "Quantise with one scale for each channel.",
        None,
        "One number more for each channel; no output is lost.",
        CERTAIN,
        evidence.share(count),
        places,
        "share of filters that become zero",
    )


def _places(evidence: Evidence, lost) -> tuple[Place, ...]:  # type: ignore[no-untyped-def]
    places = []
    for layer in evidence.layers:
        count = int(lost(layer.kernels.flatten(1).abs().amax(1)).sum())
        if count:
            name, total = layer.filters.name, len(layer.filters)
            places.append(Place(name, size_text(layer.filters.size), count, total, count / total))
    return tuple(places)
