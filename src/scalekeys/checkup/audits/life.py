"""Whether filters do anything, and whether training has formed them."""

from scalekeys.checkup.advice import CERTAIN, HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence, named
from scalekeys.fitting.formation import LIKE_NOISE, formation
from scalekeys.shapes import size_text


def dead_filters(evidence: Evidence) -> Advice | None:
    """Find filters that are zero, or negligible beside the others of their network."""
    places = tuple(
        Place(layer.name, size_text(layer.size), int(dead), len(layer), dead / len(layer))
        for layer, rows in evidence.bank.parts()
        if (dead := int(evidence.fit.dead[rows].sum()))
    )
    if not places:
        return None
    count = sum(place.filters for place in places)
    return Advice(
        "dead-filters",
        f"{count} of {len(evidence.bank)} filters are dead: their outputs are constant whatever the input is.",
        f"They are zero, or their norm is below a ten-thousandth of that of their layer, in {len(places)} of "
        f"{len(evidence.bank.layers)} layers. Usual initialisations make no such filters.",
        "Take the channels out of their blocks.",
        "scalekeys prune NETWORK -o FILE",
        "The outputs stay equal to 1e-5; the channels cost nothing any more, in the pointwise layers around them as well.",
        CERTAIN,
        evidence.share(count),
        places,
        "share of dead filters",
    )


def not_formed(evidence: Evidence) -> Advice | None:
    """Find layers whose filters are explained no better than white noise."""
    formed = formation(evidence.fit, evidence.matched)
    places = tuple(
        Place(group.name, group.size, group.filters, group.filters, group.white.value, 0.0)
        for group in formed.layers
        if group.white is not None and group.white.word == LIKE_NOISE
    )
    if not places or formed.network.white is None:
        return None
    judged = sum(group.white is not None for group in formed.layers)
    count, whole = sum(place.filters for place in places), formed.network.white
    return Advice(
        "not-formed",
        f"The kernels of {len(places)} of {judged} layers are like noise: {named([place.layer for place in places])}.",
        f"The formation of the network is {whole.value:.2f} ({whole.low:.2f} to {whole.high:.2f}), where white noise has "
        "0 and filters that are all explained better than noise have 1.",
        "Train longer, with more weight decay on these kernels, or train with frozen idealized filters in these layers.",
        None,
        "Whether accuracy gains is open: other layers may do the work, and formation does not rank architectures.",
        HINT,
        evidence.share(count),
        places,
        "formation",
    )
