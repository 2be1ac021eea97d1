"""Whether kernels could be said with less: outer products, and copies of each other."""

import torch
from torch import Tensor

from scalekeys.checkup.advice import BOUNDED, HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence, LayerEvidence, named
from scalekeys.shapes import size_text

ENERGY_KEPT = 0.99
"""The share of the energy of a layer that outer products have to hold."""

TWINS = 0.99
"""Filters that correlate by more than this are one filter, up to a factor and an offset."""

LEAST_TWINS = 0.1
"""The share of the filters of a layer that must have a twin before it is worth a word."""

LEAST_SIDE = 7
"""The side from which two filters of one axis are faster than the kernel."""


def separable(evidence: Evidence) -> Advice | None:
    """Find layers of large kernels that a few outer products hold."""
    places, ranks = [], []
    for layer in evidence.layers:
        size = layer.filters.size
        if len(size) != 2 or min(size) < LEAST_SIDE:
            continue
        kept, noise = _energy_by_rank(layer.kernels), _energy_by_rank(layer.noise)
        rank = 1 + int((kept < ENERGY_KEPT).sum())
        if 2 * rank * max(size) < size[0] * size[1] // 2:
            name = layer.filters.name
            places.append(
                Place(name, size_text(size), len(layer.filters), len(layer.filters), float(kept[0]), float(noise[0]))
            )
            ranks.append(rank)
    if not places:
        return None
    return Advice(
        "separable",
        f"The kernels of {len(places)} layers are nearly separable: {named([place.layer for place in places])}.",
        f"{min(ranks)} to {max(ranks)} outer products hold {100 * ENERGY_KEPT:.0f} % of their energy; one holds "
        f"{100 * min(place.value for place in places):.0f} % or more, of matched noise "
        f"{100 * min(place.control or 0 for place in places):.0f} % or more.",
        "Run each kernel as that many pairs of filters of one axis, and match the statistics behind them.",
        None,
        "Fewer multiplications; whether it is faster depends on the machine and has to be timed.",
        HINT,
        evidence.share(sum(place.filters for place in places)),
        tuple(places),
        "energy of the best outer product",
    )


def redundant(evidence: Evidence) -> Advice | None:
    """Find layers in which filters are copies of each other up to a factor and an offset."""
    places = tuple(place for layer in evidence.layers if (place := _copies(layer)) is not None)
    if not places:
        return None
    count = sum(place.filters for place in places)
    return Advice(
        "redundant",
        f"{count} filters of {len(places)} layers are copies of another filter of their layer, up to a factor and an "
        f"offset: {named([place.layer for place in places])}.",
        f"They correlate by more than {TWINS} with it; of matched noise {sum(_noise_count(p) for p in places)} do.",
        "Share kernels within a layer: cluster them, and replace each by its key.",
        "scalekeys keys SOURCE -o keys/",
        "A copy changes the response by less than 2 % of its energy; the multiplications stay, the weights shrink.",
        BOUNDED,
        evidence.share(count),
        places,
        "share of filters with a twin",
    )


def _noise_count(place: Place) -> int:
    return round((place.control or 0) * place.of)


def _energy_by_rank(kernels: Tensor) -> Tensor:
    """Return the share of the energy of a layer that the best outer products of each filter hold, by their number."""
    energy = torch.linalg.svdvals(kernels).square()
    return energy.cumsum(1).sum(0) / energy.sum()


def _copies(layer: LayerEvidence) -> Place | None:
    count, noise = _twins(layer.kernels), _twins(layer.noise)
    total = len(layer.filters)
    if layer.kernels[0].numel() <= 3 or count < LEAST_TWINS * total or count <= 2 * noise:
        return None
    return Place(layer.filters.name, size_text(layer.filters.size), count, total, count / total, noise / total)


def _twins(kernels: Tensor) -> int:
    """Count filters that are like one that stands before them."""
    rows = kernels.flatten(1)
    rows = torch.nn.functional.normalize(rows - rows.mean(1, keepdim=True), dim=1)
    return int(((rows @ rows.T).abs() > TWINS).tril(-1).any(1).sum())
