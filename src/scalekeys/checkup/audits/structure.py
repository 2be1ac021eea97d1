"""Whether kernels could be said with less: outer products, and copies of each other."""

import torch
from jaxtyping import Bool
from torch import Tensor

from scalekeys.checkup.advice import BOUNDED, Advice, Place
from scalekeys.checkup.evidence import Evidence, LayerEvidence, largest_first, layers_of, percentages
from scalekeys.errors import counted
from scalekeys.filters import replacement
from scalekeys.filters.copies import COPY, NUMBERS, copies, originals
from scalekeys.proportions import wilson_interval

ENERGY_KEPT = 0.99
"""The share of the energy of a layer that outer products have to hold."""

LEAST_COPIES = 0.1
"""The share of the filters, of a layer and of the network, that must be copies before it is worth a word."""

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
        f"In {counted(len(places), 'layer')} the kernels are nearly separable: {layers_of(places)}.",
        f"{' or '.join(map(str, ranks))} outer {'product holds' if ranks == [1] else 'products hold'} "
        f"{100 * ENERGY_KEPT:.0f} % of the energy of a layer. The best single product holds "
        f"{percentages([place.value for place in places])} of the energy of the filters, and "
        f"{percentages([place.control or 0 for place in places])} of the energy of matched noise.",
        "Run each kernel as this number of pairs of 1-D convolutions, and match the batch-norm statistics behind them.",
        f"scalekeys separate {evidence.network} --images {evidence.source.folder} -o separated.onnx",
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
    found = copies(evidence.bank)
    copied = found.original >= 0
    places = largest_first(
        place for layer in evidence.layers if (place := _copied(layer, copied[layer.rows][layer.live])) is not None
    )
    if evidence.share(places) < LEAST_COPIES:
        return None
    count, noise = (
        sum(place.filters for place in places),
        sum(round((place.control or 0) * place.of) for place in places),
    )
    stored, done = evidence.source.stored, replacement(found)
    left = int(done.numbers.sum()) / sum(layer.kernels.numel() for layer in evidence.bank)
    return Advice(
        "redundant",
        f"{counted(count, 'filter')} of {counted(len(places), 'layer')} are copies of another filter of their layer, "
        f"up to a factor and an offset: {layers_of(places)}.",
        f"Each copy correlates by more than {COPY} with an earlier filter of its layer; of matched noise "
        f"{counted(noise, 'filter')} would.",
        "Make each copy from the filter that it copies, with a factor and an offset.",
        stored and f"scalekeys replace {stored} -o copies{evidence.source.storage.suffix} --model copies",
        f"The command replaces {counted(int(done.replaced.sum()), 'filter')}, also constant ones and copies in layers "
        f"with few, which saves {100 * (1 - left):.1f} % of the depthwise weights where a copy is stored as {NUMBERS} "
        "numbers and a constant filter as 1; time and the size of a plain file stay the same. What that costs in this "
        "network has to be measured: in trials with other files, MCUNet lost 1.0 points of top-1 (-0.8 to 2.8), "
        "and nothing with statistics matched (-1.6 to 1.6); LKDN, which enlarges images, 0.02 dB (0.01 to 0.03).",
        BOUNDED,
        evidence.share(places),
        places,
        "share of copies",
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
    return [(layer.place(float(kept[0]), float(_energy_by_rank(layer.noise)[0])), rank)]


def _energy_by_rank(kernels: Tensor) -> Tensor:
    """Return the share of the energy of a layer that the best outer products of each filter hold, by their number."""
    energy: Tensor = torch.linalg.svdvals(kernels).square()
    share: Tensor = energy.cumsum(1).sum(0) / energy.sum()
    return share


def _copied(layer: LayerEvidence, is_copy: Bool[Tensor, "live"]) -> Place | None:
    """Return the layer, if it has many copies, and more than its noise."""
    count, live, total = int(is_copy.sum()), len(is_copy), len(layer.filters)
    if count < LEAST_COPIES * total:
        return None
    noise = int((originals(layer.noise)[0] >= 0).sum())
    if wilson_interval(count, live)[0] <= wilson_interval(noise, live)[1]:
        return None
    return layer.place(count / total, noise / total, concerned=is_copy)
