"""Whether kernels are larger or smaller than what they hold."""

from collections.abc import Iterable
from math import prod

import torch

from scalekeys.checkup.advice import BOUNDED, HINT, Advice, Place
from scalekeys.checkup.evidence import LEAST, Evidence, LayerEvidence, largest_first, layers_of, percentages
from scalekeys.errors import counted, listed
from scalekeys.filters import LayerFilters
from scalekeys.filters.extent import SMALLEST, smallest_window, white_share
from scalekeys.filters.window import in_window
from scalekeys.networks.changing.crop import refitted_layer
from scalekeys.proportions import wilson_interval
from scalekeys.shapes import Size, size_text

FLAT = 0.2
"""The share of infinite scales, beyond that of matched noise, from which a kernel is called too small."""


def too_large(evidence: Evidence) -> Advice | None:
    """Find layers whose outer taps hold next to nothing."""
    cuts = {layer.name: cut for layer in evidence.bank if (cut := smallest_window(layer.kernels))}
    places = largest_first(
        layer.place(cut[1], white_share(layer.filters.size, cut[0]))
        for layer in evidence.layers
        if (cut := cuts.get(layer.filters.name))
    )
    if not places:
        return None
    cropped = [layer for layer in evidence.bank if layer.name in cuts]
    saved = sum(len(layer) * (prod(layer.size) - prod(cuts[layer.name][0])) for layer in cropped)
    taps = sum(layer.kernels.numel() for layer in evidence.bank)
    responses, seen = _response_share(evidence, [(layer, cuts[layer.name][0]) for layer in cropped])
    few = len(cuts) - len(places)
    others = f", {few} of them with fewer than {LEAST} live filters" if few else ""
    told = listed(
        [f"{place.layer} ({place.size}, {size_text(cuts[place.layer][0])} is enough)" for place in places], limit=3
    )
    return Advice(
        "too-large",
        f"In {counted(len(places), 'layer')} the outer taps of the kernels hold next to nothing: {told}.",
        f"Of the energy of a layer {percentages([place.value for place in places], 1)} lies outside the smaller "
        f"window; of the energy of white noise {percentages([place.control or 0 for place in places])} does.",
        "Crop these kernels."
        if evidence.norms == () or len(evidence.bank.layers[0].size) != 2
        else "Crop these kernels. Given a network that runs and a few images (--images), the command also matches the "
        "batch-norm statistics behind them.",
        f"scalekeys crop {evidence.source.cropped} -o cropped.pth",
        f"The command crops {counted(len(cuts), 'layer')}{others}, which saves "
        f"{100 * saved / taps:.1f} % of the depthwise weights. On {seen} responses change by at most "
        f"{100 * responses:.1f} % of their energy. Measure what that costs: MCUNet lost 1.6 points of top-1 "
        "(-0.2 to 3.4) with statistics matched and 2.2 (0.3 to 4.1) without, LKDN, which enlarges images, 0.001 dB "
        "(-0.001 to 0.003).",
        BOUNDED,
        evidence.share(places),
        places,
        "energy outside the smaller window",
    )


def too_small(evidence: Evidence) -> Advice | None:
    """Find layers in which more filters than of matched noise have an infinite scale."""
    places = largest_first(place for layer in evidence.layers if (place := _flat(evidence, layer)) is not None)
    if not places:
        return None
    values, noise = [place.value for place in places], [place.control or 0 for place in places]
    return Advice(
        "too-small",
        f"In {counted(len(places), 'layer')} many filters are wider than their kernels: {layers_of(places)}.",
        f"Of the filters of a layer {percentages(values)} have an infinite scale, of matched noise "
        f"{percentages(noise)}.",
        "Train with a larger kernel or with dilation in these layers.",
        None,
        "More multiplications; whether accuracy gains has to be tried.",
        HINT,
        evidence.share(places),
        places,
        "share of infinite scales",
    )


def _response_share(evidence: Evidence, windows: Iterable[tuple[LayerFilters, Size]]) -> tuple[float, str]:
    """Return by which share of their energy responses change at most if layers are cropped, and responses to what."""
    shares, seen = [], ""
    for layer, window in windows:
        finite = layer.kernels.flatten(1).isfinite().all(1)
        (covariance, seen), kernels = evidence.covariance(layer), layer.kernels[finite].double()
        if len(covariance) > 1:
            covariance = covariance[finite]
        small = in_window(refitted_layer(layer, window)[finite].double(), layer.size)
        difference, whole = (
            float((rows[:, None] @ covariance @ rows[..., None]).sum())
            for rows in ((kernels - small).flatten(1), kernels.flatten(1))
        )
        shares.append(difference / whole if whole else 0.0)
    return max(shares), seen


def _flat(evidence: Evidence, layer: LayerEvidence) -> Place | None:
    if min(side for side in layer.filters.size if side > 1) <= SMALLEST:
        return None  # three taps cannot tell a wide filter from a flat one
    infinite = torch.isinf(evidence.fit.sigma[layer.rows]).any(1)[torch.from_numpy(layer.live)]
    flat, count = int(infinite.sum()), len(infinite)
    if flat < FLAT * count:
        return None
    noise = int(torch.isinf(evidence.matched_scales(layer)).any(1).numpy()[layer.live].sum())
    low, high = wilson_interval(flat, count)[0], wilson_interval(noise, count)[1]
    if flat - noise < FLAT * count or low <= high:
        return None
    return layer.place(flat / count, noise / count, concerned=infinite)
