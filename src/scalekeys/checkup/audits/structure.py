"""Whether kernels could be said with less: outer products, and copies of each other."""

import torch
from torch import Tensor

from scalekeys.checkup.advice import BOUNDED, Advice, Place
from scalekeys.checkup.evidence import Evidence, LayerEvidence, largest_first, named, percentages
from scalekeys.errors import counted
from scalekeys.proportions import wilson_interval

ENERGY_KEPT = 0.99
"""The share of the energy of a layer that outer products have to hold."""

TWINS = 0.99
"""Filters that correlate by more than this are one filter, up to a factor and an offset."""

LEAST_TWINS = 0.1
"""The share of the filters, of a layer and of the network, that must have a twin before it is worth a word."""

LEAST_SIDE = 7
"""The side from which two filters of one axis are faster than the kernel."""


def separable(evidence: Evidence) -> Advice | None:
    """Find layers of large kernels that a few outer products hold."""
    found = [(place, rank) for layer in evidence.layers for place, rank in _separable(layer)]
    if not found:
        return None
    places, ranks = largest_first(place for place, _ in found), sorted({rank for _, rank in found})
    return Advice(
        "separable",
        f"In {counted(len(places), 'layer')} the kernels are nearly separable: "
        f"{named([place.layer for place in places])}.",
        f"{' or '.join(map(str, ranks))} outer {'product holds' if ranks == [1] else 'products hold'} "
        f"{100 * ENERGY_KEPT:.0f} % of the energy of a layer. The best one of each filter holds "
        f"{percentages([place.value for place in places])}, of matched noise "
        f"{percentages([place.control or 0 for place in places])}.",
        "Run each kernel as that many pairs of filters of one axis, and match the batch-norm statistics behind them.",
        f"scalekeys separate {evidence.network} --images FOLDER --size PIXELS -o FILE.onnx",
        "Fewer multiplications. On one core, layers of 7x7 took 0.4 of their time in onnxruntime with 1 outer product, "
        "but 1.1 with 2; layers of 13x13 took 0.2 and 0.3. The command times each layer, and leaves those that are not "
        "faster.",
        BOUNDED,
        evidence.share(places),
        places,
        "energy of the best outer product",
    )


def redundant(evidence: Evidence) -> Advice | None:
    """Find layers in which filters are copies of each other up to a factor and an offset."""
    places = largest_first(place for layer in evidence.layers if (place := _copies(layer)) is not None)
    if evidence.share(places) < LEAST_TWINS:
        return None
    count, noise = sum(place.filters for place in places), sum(_noise_count(place) for place in places)
    return Advice(
        "redundant",
        f"{counted(count, 'filter')} of {counted(len(places), 'layer')} are copies of another one of their layer, up "
        f"to a factor and an offset: {named([place.layer for place in places])}.",
        f"Each of them correlates by more than {TWINS} with another one; of matched noise {noise} do.",
        "Describe each filter by as few numbers as it needs, or cluster the filters and share kernels within a layer "
        f"(scalekeys keys {evidence.source} -o keys/).",
        f"scalekeys compress {evidence.network} --data FOLDER --budget 0.3 -o FILE",
        "A copy differs from its twin by less than 2 % of its energy about the mean; the weights shrink, the "
        "multiplications stay.",
        BOUNDED,
        evidence.share(places),
        places,
        "share of filters with a twin",
    )


def _separable(layer: LayerEvidence) -> list[tuple[Place, int]]:
    """Return the layer and how many outer products it takes, if these are worth their while."""
    size = layer.filters.size
    if len(size) != 2 or min(size) < LEAST_SIDE:
        return []
    kept = _energy_by_rank(layer.kernels)
    rank = 1 + int((kept < ENERGY_KEPT).sum())
    if rank * sum(size) > size[0] * size[1] // 2:
        return []
    return [(layer.place(len(layer.filters), float(kept[0]), float(_energy_by_rank(layer.noise)[0])), rank)]


def _noise_count(place: Place) -> int:
    return round((place.control or 0) * place.of)


def _energy_by_rank(kernels: Tensor) -> Tensor:
    """Return the share of the energy of a layer that the best outer products of each filter hold, by their number."""
    energy: Tensor = torch.linalg.svdvals(kernels).square()
    share: Tensor = energy.cumsum(1).sum(0) / energy.sum()
    return share


def _copies(layer: LayerEvidence) -> Place | None:
    kernels, total = layer.kernels, len(layer.filters)
    count, live = _twins(kernels), len(kernels)
    if kernels[0].numel() <= 3 or count < LEAST_TWINS * total:
        return None
    noise = _twins(layer.noise)
    if wilson_interval(count, live)[0] <= wilson_interval(noise, live)[1]:
        return None
    return layer.place(count, count / total, noise / total)


def _twins(kernels: Tensor) -> int:
    """Count filters that are like one that stands before them."""
    rows = kernels.flatten(1)
    rows = torch.nn.functional.normalize(rows - rows.mean(1, keepdim=True), dim=1)
    return int(((rows @ rows.T).abs() > TWINS).tril(-1).any(1).sum())
