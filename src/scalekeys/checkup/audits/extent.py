"""Whether kernels are larger or smaller than what they hold."""

import torch
from torch import Tensor

from scalekeys.checkup.advice import BOUNDED, HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence, LayerEvidence, named
from scalekeys.filters.window import in_window
from scalekeys.fitting import natural_image_covariance
from scalekeys.proportions import wilson_interval
from scalekeys.shapes import Size, size_text

OUTER_ENERGY = 0.02
"""The share of the energy of a layer that may be cut off: measured to cost nothing, where 5 % cost three points."""

SMALLEST = 3
"""The side that a kernel keeps."""

FLAT = 0.2
"""The share of filters with an infinite scale, beyond that of matched noise, from which a kernel is called too small."""


def too_large(evidence: Evidence) -> Advice | None:
    """Find layers whose outer taps hold next to nothing."""
    found = [(layer, window, share) for layer in evidence.layers if (cut := _cut(layer)) for window, share in [cut]]
    if not found:
        return None
    places = tuple(
        Place(
            layer.filters.name,
            size_text(layer.filters.size),
            len(layer.filters),
            len(layer.filters),
            share,
            _white_share(layer.filters.size, window),
        )
        for layer, window, share in found
    )
    saved = sum(len(layer.filters) * (_taps(layer.filters.size) - _taps(window)) for layer, window, _ in found)
    taps = sum(len(layer) * _taps(layer.size) for layer in evidence.bank.layers)
    responses = max(_response_share(layer, window) for layer, window, _ in found)
    windows = named([f"{layer.filters.name} to {size_text(window)}" for layer, window, _ in found])
    return Advice(
        "too-large",
        f"The kernels of {len(found)} layers are larger than what they hold: {windows} would do.",
        f"The taps outside hold at most {100 * max(share for *_, share in found):.1f} % of the energy of a layer, where "
        f"white noise would have {100 * min(p.control for p in places if p.control is not None):.0f} % or more there.",
        "Crop the kernels, and match the statistics of the batch normalisations behind them on a few images.",
        "scalekeys crop NETWORK -o FILE",
        f"It saves {100 * saved / taps:.1f} % of the depthwise weights and multiplications. On natural images the "
        f"responses change by at most {100 * responses:.1f} % of their energy before statistics are matched.",
        BOUNDED,
        evidence.share(sum(place.filters for place in places)),
        places,
        "energy outside the smaller window",
    )


def too_small(evidence: Evidence) -> Advice | None:
    """Find layers in which more filters than of matched noise have an infinite scale."""
    places = tuple(place for layer in evidence.layers if (place := _flat(evidence, layer)) is not None)
    if not places:
        return None
    return Advice(
        "too-small",
        f"The filters of {len(places)} layers want more room: {named([place.layer for place in places])}.",
        f"The best scale of up to {100 * max(place.value for place in places):.0f} % of their filters is infinite, where "
        f"matched noise has {100 * max(place.control or 0 for place in places):.0f} % or less.",
        "Train with a larger kernel or with dilation in these layers.",
        None,
        "More multiplications; whether accuracy gains has to be tried.",
        HINT,
        evidence.share(sum(place.filters for place in places)),
        places,
        "share of infinite scales",
    )


def _cut(layer: LayerEvidence) -> tuple[Size, float] | None:
    """Return the smallest window that holds nearly all energy of a layer, and what is left outside."""
    best = None
    window = layer.filters.size
    while (smaller := tuple(side - 2 if side - 2 >= SMALLEST else side for side in window)) != window:
        window = smaller
        share = _outer_share(layer.kernels, window)
        if share > OUTER_ENERGY:
            break
        best = window, share
    return best


def _outer_share(kernels: Tensor, window: Size) -> float:
    outside = kernels - in_window(in_window(kernels, window), tuple(kernels.shape[1:]))
    return float(outside.square().sum() / kernels.square().sum())


def _response_share(layer: LayerEvidence, window: Size) -> float:
    """Return the energy of the difference of the responses to natural images, by that of the responses."""
    covariance = natural_image_covariance(layer.filters.size, dilation=layer.filters.dilation or 1)
    kernels = layer.kernels
    outside = kernels - in_window(in_window(kernels, window), layer.filters.size)
    difference, whole = (
        torch.einsum("ni,ij,nj->", rows, covariance, rows) for rows in (outside.flatten(1), kernels.flatten(1))
    )
    return float(difference / whole)


def _white_share(size: Size, window: Size) -> float:
    return 1 - _taps(window) / _taps(size)


def _taps(size: Size) -> int:
    return int(torch.tensor(size).prod())


def _flat(evidence: Evidence, layer: LayerEvidence) -> Place | None:
    if min(side for side in layer.filters.size if side > 1) <= SMALLEST:
        return None  # three taps cannot tell a wide filter from a flat one
    flat, noise = (
        int(torch.isinf(fit.sigma[layer.rows]).any(1).numpy()[layer.live].sum())
        for fit in (evidence.fit, evidence.matched)
    )
    count = int(layer.live.sum())
    low, high = wilson_interval(flat, count)[0], wilson_interval(noise, count)[1]
    if flat - noise < FLAT * count or low <= high:
        return None
    name, size = layer.filters.name, size_text(layer.filters.size)
    return Place(name, size, flat, len(layer.filters), flat / count, noise / count)
