"""What a report on keys says, in sentences computed from the data."""

from collections import Counter

from scalekeys.report.keys.elimination import EliminationSummary
from scalekeys.report.keys.names import key_name, short_names
from scalekeys.report.keys.summary import KeysSummary, LayerKeys
from scalekeys.report.page.words import count, listed, number, percent, plural, spelled

FOUND = 0.9
"""A published filter counts as found again from this correlation on."""

_COSTS = {
    "accuracy": "the share of images that are classified wrongly",
    "outputs": "the squared change of the outputs",
    "responses": "the squared change of the responses of the filters",
}
_COUNTED = {"equal": "each counted alike", "energy": "weighted by their energy"}


def lead(summary: KeysSummary) -> str:
    """Sum the report up in a few sentences."""
    networks = f" of {plural(len(summary.models), 'network')}" if len(summary.models) > 1 else ""
    keys = len(summary.keys)
    parts = [
        f"{plural(summary.clustered, 'filter')} in {plural(len(summary.layers), 'layer')}{networks}.",
        f"{spelled(keys).capitalize()} {'key explains' if keys == 1 else 'keys explain'} {percent(summary.explained)} "
        f"of their energy, {_COUNTED[summary.weighting]}; as many explain {percent(summary.matched_noise)} of matched "
        f"noise, and {percent(summary.white_noise)} of white noise.",
        f"{percent(summary.coverage)} of the filters correlate with their key by {number(summary.threshold)} or more.",
        published(summary),
    ]
    return " ".join(parts)


def published(summary: KeysSummary) -> str:
    """Say which of the eight published filters are among the keys."""
    found = summary.published(FOUND)
    if not any(key.published for key in summary.keys):
        return "The eight published master keys have two axes, and are not compared with these."
    if not found:
        best = max(summary.keys, key=lambda key: key.published_correlation or 0)
        return (
            f"None of the eight published master keys is among them by a correlation of {number(FOUND, 1)}; the "
            f"closest is filter {best.published}, by {number(best.published_correlation)}."
        )
    which = listed([f"{key.published} ({key.published_family})" for key in found])
    share = "All eight" if len(found) == 8 else f"{spelled(len(found)).capitalize()} of the eight"
    verb = "is" if len(found) == 1 else "are"
    names = "" if len(found) == 8 else f": {'filter' if len(found) == 1 else 'filters'} {which}"
    return f"{share} published master keys {verb} among them by a correlation of {number(FOUND, 1)} or more{names}."


def gallery(summary: KeysSummary) -> str:
    """Say what the keys look like to the theory."""
    modelled = [key for key in summary.keys if key.model]
    text = (
        "A key is a filter of zero mean and unit norm that stands for all filters of the form a · key + b. Beside it "
        "stand the idealized receptive field that models it best, and the published filter it was matched with, one to "
        "one."
    )
    if not modelled:
        return f"{text} No key has such a model."
    families = Counter(key.model for key in modelled).most_common()
    kinds = listed([f"{family} ({times})" if times > 1 else str(family) for family, times in families])
    least = min(key.r2 or 0 for key in modelled)
    text += f" The models are {kinds}. They explain {percent(least)} or more of the energy of their key."
    others = len(summary.keys) - len(modelled)
    if others:
        verb = "has" if others == 1 else "have"
        text += f" {spelled(others).capitalize()} of the keys {verb} no model beyond what noise has."
    return text


def members(summary: KeysSummary) -> str:
    """Say what the rows of members show."""
    ranked = sorted((key for key in summary.keys if key.members), key=lambda key: -(key.median_correlation or 0))
    text = (
        "Members of each key from the closest to the farthest, at equal steps of their rank, with their correlation. "
        "Each is drawn as it is compared: without its offset, in the window and with the sign of its key."
    )
    if summary.symmetry == "dihedral":
        text += " It is turned and mirrored as its key stands."
    if len(ranked) < 2:
        return text
    first, last = ranked[0], ranked[-1]
    return (
        f"{text} The members of {key_name(first.key)} are the closest (median {number(first.median_correlation)}), "
        f"those of {key_name(last.key)} the farthest ({number(last.median_correlation)})."
    )


def mix(summary: KeysSummary) -> str:
    """Say which key leads where."""
    if len(summary.layers) == 1:
        return f"All filters stand in one layer, “{summary.layers[0].layer}”."
    leaders = Counter(layer.main_key for layer in summary.layers).most_common()
    others = [f"{key_name(key)} in {spelled(times)}" for key, times in leaders[1:]]
    key = leaders[0][0]
    low, high = (f(summary.layers, key=lambda layer: _share(layer, key)) for f in (min, max))
    first, last = (f"{percent(_share(layer, key))} in {_where(summary, layer)}" for layer in (low, high))
    return (
        f"In {spelled(leaders[0][1])} of {spelled(len(summary.layers))} layers {key_name(key)} is the most frequent"
        f"{'; ' + listed(others) if others else ''}. The share of {key_name(key)} runs from "
        f"{first} to {last}."
    )


def coverage(summary: KeysSummary) -> list[str]:
    """Say how many filters are close to their key, and where they are not."""
    energy = percent(summary.threshold**2, 0)
    texts = [
        f"A filter is covered if its correlation with its key is {number(summary.threshold)} or more, so that the key "
        f"explains at least {energy} of its energy. That holds for {percent(summary.coverage)} of the filters."
    ]
    if len(summary.layers) > 1:
        low, high = (f(summary.layers, key=lambda layer: layer.coverage) for f in (min, max))
        texts.append(
            f"Coverage is highest in {_where(summary, high)}, with {percent(high.coverage)}, and lowest in "
            f"{_where(summary, low)}, with {percent(low.coverage)}."
        )
    return texts


def number_of_keys(summary: KeysSummary) -> list[str]:
    """Say which number of keys is recommended, and why."""
    if summary.best_k is None:
        return ["The number of keys was given, and not compared with others."]
    used = len(summary.keys)
    same = "This page shows as many." if used == summary.best_k else f"This page shows {spelled(used)}, as asked for."
    return [
        "More keys always explain more. What counts is whether they explain more than in noise, and whether the same "
        "keys come back from other starts and from either half of the filters.",
        f"Recommended: {plural(summary.best_k, 'key')}. {_sentence(summary.reason or '')} {same}",
    ]


def elimination(summary: EliminationSummary, used: int) -> list[str]:
    """Say what was eliminated, and what the network loses with the keys of the page."""
    texts = [
        f"Of {plural(summary.candidates, 'candidate')} the one whose absence costs least was dropped again and again; "
        f"the cost is {_COSTS[summary.by]}. Each depthwise filter is replaced by its best key, with a "
        f"factor and an offset; the mean and the variance of each channel behind the depthwise layers are matched to "
        f"those of the network as it was, and nothing is trained. The curve is measured on "
        f"{plural(summary.images, 'other image')}."
    ]
    mine, drawn = (summary.at(source, used) for source in ("eliminated", "random"))
    if mine is not None:
        what = "a top-1 accuracy of" if summary.measured == "accuracy" else "an error of the outputs of"
        text = (
            f"With {plural(used, 'key')} {summary.network} has {what} {summary.words(mine.value)} (95 % from "
            f"{summary.words(mine.low)} to {summary.words(mine.high)})"
        )
        if summary.measured == "accuracy":
            text += f", and with its own filters {summary.words(summary.original)}"
        if drawn is not None:
            many = f"{spelled(drawn.as_good)} of which are"
            good = {0: "none of which is", 1: "one of which is"}.get(drawn.as_good, many)
            text += (
                f"; with as many random candidates {summary.words(drawn.value)} in the mean of "
                f"{plural(drawn.draws, 'draw')}, {good} as good"
            )
        texts.append(f"{text}.")
    return [*texts, *(_sentence(note) for note in summary.notes)]


def uncovered(summary: KeysSummary, shown: int, total: int) -> str:
    """Say what the keys do not cover."""
    if not total:
        return f"Every filter correlates with its key by {number(summary.threshold)} or more."
    verb = "correlates" if total == 1 else "correlate"
    which = f"Shown are the farthest {count(shown)}" if shown < total else "All are shown"
    return (
        f"{plural(total, 'filter')} ({percent(total / summary.clustered)}) {verb} with no key by "
        f"{number(summary.threshold)}. {which}, with the correlation to the closest key. If some of them look alike, "
        "more keys would find them; if they look like noise, none will."
    )


def _share(layer: LayerKeys, key: int) -> float:
    return layer.members[key] / layer.filters


def _where(summary: KeysSummary, layer: LayerKeys) -> str:
    place = f"“{short_names(summary.layers)[layer.bank, layer.layer]}” (depth {layer.depth})"
    return f"{place} of {layer.model}" if len(summary.models) > 1 else place


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") or not text else ".")
