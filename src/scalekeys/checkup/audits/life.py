"""Whether filters do anything, and whether training has formed them."""

from collections.abc import Iterable

import numpy as np

from scalekeys.checkup.advice import CERTAIN, HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence, largest_first, layers_of
from scalekeys.errors import counted
from scalekeys.fitting.formation import LIKE_NOISE, formation
from scalekeys.networks.pruning.prune import MULTIPLE
from scalekeys.networks.pruning.removal import removable
from scalekeys.shapes import size_text

_ROUGH = 256
"""Filters of white noise a kernel size that are enough to see that a layer is far from it."""

_CLEAR = 0.1
"""The formation beyond which, with its interval, a layer needs no closer look."""

_WHOLE = "Fewer channels are not always faster, so time the network before and after."
_ODD = (
    f"No layer has enough dead filters for its width to stay a multiple of {MULTIPLE}, which is often faster: time the "
    "network before and after."
)


def not_finite(evidence: Evidence) -> Advice | None:
    """Find filters with taps that are infinite or no numbers."""
    places = _places(evidence, evidence.fit.status == "non-finite")
    if not places:
        return None
    count = sum(place.filters for place in places)
    return Advice(
        "not-finite",
        f"{counted(count, 'filter')} of {len(evidence.bank)} hold values that are not finite: {layers_of(places)}.",
        "Outputs behind such a filter are not finite either; the weights of a working network have no such filters.",
        "Go back to a checkpoint from before training diverged, or convert the weights again.",
        None,
        "The network gives results again.",
        CERTAIN,
        evidence.share(places),
        places,
        "share of filters that are not finite",
    )


def dead_filters(evidence: Evidence) -> Advice | None:
    """Find filters that are zero, or negligible beside the others of their network."""
    places = _places(evidence, evidence.dead)
    if not places:
        return None
    count, small = sum(place.filters for place in places), int(evidence.fit.dead.sum())
    images = f" --images {evidence.source.folder}" if count > small else ""
    kept = kept_multiple(places)
    multiple = "" if kept == MULTIPLE else f" --multiple-of {kept}"
    return Advice(
        "dead-filters",
        f"{count} of {len(evidence.bank)} filters are dead: whatever their input is, their outputs are constant, or as "
        "good as constant.",
        f"{_why_dead(evidence, small, count - small)}, in {len(places)} of "
        f"{counted(len(evidence.bank.layers), 'layer')}. Noise, and so the usual initialisations, has no such filters.",
        "Remove the dead filters together with their channels.",
        f"scalekeys prune {evidence.network}{images}{multiple} -o pruned.pth",
        "Fewer weights and multiplications, also in the layers before and behind. The command verifies that the "
        f"outputs stay the same. {_WHOLE if kept > 1 else _ODD}",
        CERTAIN,
        evidence.share(places),
        places,
        "share of dead filters",
    )


def kept_multiple(places: Iterable[Place]) -> int:
    """Return of which number widths stay multiples where dead filters go: the usual one, or 1 if none would go then.

    >>> kept_multiple([Place("dw", "7x7", 3, 32, 3 / 32)]), kept_multiple([Place("dw", "7x7", 9, 32, 9 / 32)])
    (1, 8)
    """
    return MULTIPLE if any(removable(place.filters, place.of, MULTIPLE) for place in places) else 1


def _why_dead(evidence: Evidence, small: int, unmoved: int) -> str:
    """Say how dead filters were found: by their weights, or because no image moves them."""
    by_weights = "are zero, or their norm is below a ten-thousandth of what is usual"
    if evidence.responses is None:
        return f"They {by_weights}"
    return f"{small} {by_weights}; the outputs of {unmoved} more are the same for all {evidence.responses.count} images"


def not_formed(evidence: Evidence) -> Advice | None:
    """Find layers whose filters are explained no better than white noise."""
    rough = formation(evidence.fit, reference=_ROUGH)
    if all(group.white is None or group.white.low > _CLEAR for group in rough.layers):
        return None
    formed = formation(evidence.fit)
    groups = {
        group.name: group.white for group in formed.layers if group.white is not None and group.white.word == LIKE_NOISE
    }
    if not groups or formed.network.white is None:
        return None
    places = largest_first(
        Place(group.name, group.size, group.filters, group.filters, group.white.value, 0.0)
        for group in formed.layers
        if group.white is not None and group.name in groups
    )
    judged, whole = sum(group.white is not None for group in formed.layers), formed.network.white
    return Advice(
        "not-formed",
        f"In {len(places)} of {counted(judged, 'layer')} the kernels are like noise: {layers_of(places)}.",
        f"The formation of these layers is at most {max(white.value for white in groups.values()):.2f}, and that of "
        f"the network is {whole.value:.2f} ({whole.low:.2f} to {whole.high:.2f}). Formation is 0 for white noise, and "
        "1 where every filter is explained better than noise.",
        "Train longer, with more weight decay on these kernels, or with frozen idealized filters in these layers.",
        None,
        "The accuracy may gain or not: other layers may do the work, and formation does not rank architectures.",
        HINT,
        evidence.share(places),
        places,
        "formation",
    )


def _places(evidence: Evidence, marked: np.ndarray) -> tuple[Place, ...]:
    """Return the layers in which filters are marked."""
    return largest_first(
        Place(layer.name, size_text(layer.size), len(found), len(layer), len(found) / len(layer), channels=tuple(found))
        for layer, rows in evidence.bank.parts()
        if (found := np.flatnonzero(marked[rows]).tolist())
    )
