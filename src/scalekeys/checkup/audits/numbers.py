"""Whether kernels survive the number formats in which networks are run."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from scalekeys.checkup.advice import CERTAIN, Advice, Place
from scalekeys.checkup.evidence import Evidence, largest_first, layers_of, percentages
from scalekeys.checkup.normalisations import BatchNorm
from scalekeys.errors import counted

_LOST = 0.01
"""The share of its norm that a filter may lose in half precision, where rounding of normal numbers takes 0.0005."""

_EPSILON, _LARGER_EPSILON = 1e-5, 1e-3
"""What batch norms of PyTorch and of Keras add to a variance unless told otherwise."""

_NEGLIGIBLE = 1e-3
"""The share of the median factor of its batch norm below which a channel does nothing."""

_LEAST_SMALL = 0.01
"""The share of all channels from which small variances are worth a word."""

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
        f"{counted(count, 'live filter')} would be lost in float16: {layers_of(places)}.",
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
        f"{counted(count, 'live filter')} {become} zero in eight-bit integers with one quantisation step a layer: "
        f"{layers_of(places)}.",
        f"No tap of these filters reaches half a step, which is a {2 * _STEPS}th of the largest tap of the layer. With "
        "one step for each channel no live filter becomes zero.",
        "Quantise with one step for each channel.",
        None,
        "It costs one more number for each channel.",
        CERTAIN,
        evidence.share(places),
        places,
        "share of filters that become zero",
    )


def norms_needed(evidence: Evidence) -> str | None:
    """Say what is missing where the batch norms are not known."""
    return "the audit small-variances needs the network or a file of it" if evidence.norms is None else None


def small_variances(evidence: Evidence) -> Advice | None:
    """Find channels whose running variance is below the epsilon of a batch norm, which then decides their scale."""
    norms = [norm for norm in evidence.norms or () if len(norm.variance)]
    small = {norm.name: int(_decided_by_epsilon(norm).sum()) for norm in norms}
    count, channels = sum(small.values()), sum(len(norm.variance) for norm in norms)
    if count < _LEAST_SMALL * channels or not count:
        return None
    places = largest_first(
        Place(norm.name, "-", small[norm.name], len(norm.variance), small[norm.name] / len(norm.variance))
        for norm in norms
        if small[norm.name]
    )
    return Advice(
        "small-variances",
        f"{counted(count, 'channel')} of {channels} with a batch norm vary less than its epsilon: {layers_of(places)}.",
        f"The running variance of these channels is below {_EPSILON:g}, PyTorch's epsilon, and their factor is not "
        "negligible; a new batch norm has a variance of 1. So epsilon, and not the variance, decides what these "
        "channels are divided by.",
        "Keep the epsilon of training when the network is converted or built again, compute batch norms in float32, "
        "and leave these batch norms in evaluation mode when the network is trained further.",
        None,
        f"With Keras's epsilon of {_LARGER_EPSILON:g} these channels would shrink to "
        f"{percentages(_shrunk(norms))} of their size, without a warning.",
        CERTAIN,
        count / channels,
        places,
        "share of channels with a small variance",
    )


def _decided_by_epsilon(norm: BatchNorm) -> Bool[Tensor, "channels"]:
    factor = norm.factor.abs()
    return (norm.variance < _EPSILON) & (factor > _NEGLIGIBLE * factor.median())


def _shrunk(norms: Sequence[BatchNorm]) -> list[float]:
    """Return by which factor the channels in question shrink with a larger epsilon."""
    variances = torch.cat([norm.variance[_decided_by_epsilon(norm)] for norm in norms])
    return ((variances + _EPSILON) / (variances + _LARGER_EPSILON)).sqrt().tolist()


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
    marked = ((layer, lost(layer.kernels)) for layer in evidence.layers)
    return largest_first(
        layer.place(int(gone.sum()) / len(layer.filters), concerned=gone) for layer, gone in marked if gone.any()
    )
