"""The sections of a report on keys: a view in, a section out.

A new section is one function here, and one entry in :data:`SECTIONS`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from scalekeys.clustering import FOUND_AGAIN
from scalekeys.filters import master_keys
from scalekeys.filters.dead import NEGLIGIBLE
from scalekeys.report.keys.elimination import elimination_curve
from scalekeys.report.keys.figures import correlation_curve, coverage_over_depth, key_mix, number_of_keys
from scalekeys.report.keys.summary import LayerKeys
from scalekeys.report.keys.view import KeysView
from scalekeys.report.page import Section, Tile, render
from scalekeys.report.page.families import words_of
from scalekeys.report.page.numbers import evenly_spaced
from scalekeys.report.page.pictures import common_limit, filter_picture, pictured
from scalekeys.report.page.plots import place_colour
from scalekeys.report.page.words import count, listed, number, percent, plural, taps_in

STEPS = 9
"""Members of a key that are pictured."""

UNCOVERED = 24
"""Uncovered filters that are pictured."""

FOUND = 0.9
"""A published filter counts as found again from this correlation on."""


def header(view: KeysView) -> Markup:
    """Render what stands above the first section: the findings in a few sentences, key figures, and cautions."""
    summary = view.summary
    halves = {point.k: point.stability_halves or 0.0 for point in summary.curve}
    limits = {"least": FOUND, "negligible": NEGLIGIBLE, "found_again": FOUND_AGAIN}
    best = max(summary.keys, key=lambda key: key.published_correlation or 0)
    return render(
        "page/header.html.j2",
        kicker="Master keys of convolution kernels",
        title=listed(summary.models),
        lead=render("keys/lead.html.j2", summary=summary, found=summary.published(FOUND), best=best, least=FOUND),
        tiles=_tiles(view),
        cautions=render("keys/cautions.html.j2", summary=summary, halves=halves, **limits),
    )


def gallery(view: KeysView) -> Section:
    """Show each key as a card: its picture, its model, its published match."""
    summary = view.summary
    modelled = [key for key in summary.keys if key.model]
    body = render(
        "keys/gallery.html.j2",
        families=Counter(key.model for key in modelled).most_common(),
        worst=min((key.r2 or 0 for key in modelled), default=0),
        others=len(summary.keys) - len(modelled),
        cards=[_card(view, place) for place in range(len(summary.keys))],
        widest=max(key.share for key in summary.keys) or 1,
        pictured=pictured([view.filters.ndim - 1]),
    )
    return Section("keys", "The keys", body, short="Keys")


def members(view: KeysView) -> Section:
    """Show members of each key from the closest to the farthest."""
    rows = []
    for key in view.summary.keys:
        if not key.members:
            continue
        ranked = view.members(key.key)
        rows.append(
            {
                "key": key,
                "name": key.label,
                "colour": place_colour(key.key),
                "picture": _picture(view.filters[key.key], f"key {key.key}"),
                "items": _ranked([_member(view, int(ranked[place])) for place in evenly_spaced(len(ranked), STEPS)]),
            }
        )
    body = render("keys/members.html.j2", symmetry=view.summary.symmetry, rows=rows)
    return Section("members", "Members by distance", body, short="Members")


def depth(view: KeysView) -> Section:
    """Follow the mix of keys from the input to the output."""
    layers = view.summary.layers
    leaders = Counter(layer.main_key for layer in layers).most_common()
    low, high = (choose(layers, key=lambda layer: layer.share_of(leaders[0][0])) for choose in (min, max))
    body = render("keys/depth.html.j2", view=view, mix=key_mix(view.summary), leaders=leaders, low=low, high=high)
    return Section("depth", "Over depth", body, short="Depth")


def coverage(view: KeysView) -> Section:
    """Show how many filters are close to their key, by layer and by threshold."""
    several = len(view.summary.layers) > 1
    body = render(
        "keys/coverage.html.j2",
        view=view,
        curve=correlation_curve(view),
        over_depth=coverage_over_depth(view.summary) if several else None,
        threshold=view.threshold,
    )
    return Section("coverage", "How many filters the keys cover", body, short="Coverage")


def choice(view: KeysView) -> Section:
    """Compare numbers of keys."""
    body = render(
        "keys/choice.html.j2",
        reason=view.summary.reason,
        figure=number_of_keys(view.summary) if view.summary.curve else None,
        rows=view.summary.curve,
        best=view.summary.best_k,
        used=len(view.summary.keys),
    )
    return Section("choice", "How many keys", body, short="Number of keys")


def elimination(view: KeysView) -> Section | None:
    """Follow what the network loses with fewer keys, where they are what an elimination left."""
    summary = view.summary.elimination
    if summary is None:
        return None
    body = render(
        "keys/elimination.html.j2",
        used=len(view.summary.keys),
        figure=elimination_curve(summary),
        summary=summary,
    )
    return Section("elimination", "What fewer keys cost", body, short="Elimination")


def uncovered(view: KeysView) -> Section:
    """Show the filters that are far from every key."""
    far = np.flatnonzero(view.correlation < view.threshold)
    farthest = far[np.argsort(view.correlation[far], kind="stable")][:UNCOVERED]
    items = [_member(view, int(index)) for index in farthest]
    body = render("keys/uncovered.html.j2", summary=view.summary, total=len(far), items=items)
    return Section("uncovered", "What stays uncovered", body, short="Uncovered")


def layers(view: KeysView) -> Section:
    """List every layer."""
    rows = [_layer_row(layer) for layer in view.summary.layers]
    body = render("keys/layers.html.j2", rows=rows, several=len(view.summary.models) > 1)
    return Section("layers", "Layer by layer", body, short="Layers")


def method(view: KeysView) -> Section:
    """Say what every number means."""
    return Section(
        "method", "How to read this page", render("keys/method.html.j2", summary=view.summary), short="Method"
    )


SECTIONS: tuple[Callable[[KeysView], Section | None], ...] = (
    gallery, members, depth, coverage, choice, elimination, uncovered, layers, method,
)  # fmt: skip
"""The sections of a report on keys, in the order of the page; None where there is nothing to show."""


def _tiles(view: KeysView) -> list[Tile]:
    summary = view.summary
    found = len(summary.published(FOUND))
    studied = "not studied" if summary.best_k is None else f"recommended {summary.best_k}"
    return [
        Tile("keys", str(len(summary.keys)), studied),
        Tile(
            "filters",
            count(summary.clustered),
            f"{count(summary.left_out)} left out" if summary.left_out else "all used",
        ),
        Tile("layers", count(len(summary.layers)), plural(len(summary.models), "network")),
        Tile(
            "energy explained",
            percent(summary.explained),
            f"matched noise {percent(summary.matched_noise)}, white {percent(summary.white_noise)}",
        ),
        Tile("covered", percent(summary.coverage), f"by {number(summary.threshold)} or more"),
        Tile("published keys found", str(found), f"of 8, by {number(FOUND, 1)} or more"),
    ]


def _card(view: KeysView, place: int) -> dict[str, Any]:
    key, values = view.summary.keys[place], view.filters[place]
    model = view.models[place] if key.model else None
    return {
        "key": key,
        "name": f"key {key.key}",
        "colour": place_colour(place),
        "words": words_of(key.model, values.ndim) if key.model else "no model beyond what noise has",
        "picture": _picture(values, f"key {key.key}"),
        "model": None if model is None else _picture(model, f"model of key {key.key}"),
        "published": None if key.published is None else _published(view, key.key, key.published),
        "found": (key.published_correlation or 0) >= FOUND,
    }


def _published(view: KeysView, key: int, published: int) -> Markup:
    values = master_keys()[published - 1].numpy()
    return _picture((values - values.mean()) * view.signs[key], f"published filter {published}")


def _member(view: KeysView, index: int) -> dict[str, Any]:
    bank, layer = view.layers[int(view.layer[index])]
    where = f"{layer.name}, channel {view.channel(index)}"
    return {
        "picture": _picture(view.aligned(index), where),
        "correlation": float(view.correlation[index]),
        "where": f"{bank.model}, {where}" if len(view.banks) > 1 else where,
        "layer": view.summary.short_names[int(view.bank[index]), layer.name],
        "channel": view.channel(index),
        "key": f"key {view.assignment[index]}",
    }


def _ranked(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say which item is the best, the median and the worst."""
    ranks = {0: "best", len(items) // 2: "median", len(items) - 1: "worst"}
    return [{**item, "rank": ranks.get(place, "") if len(items) > 2 else ""} for place, item in enumerate(items)]


def _picture(values: np.ndarray, label: str) -> Markup:
    return filter_picture(values, common_limit(values), label)


def _layer_row(layer: LayerKeys) -> dict[str, Any]:
    main = layer.main_key
    return {
        "layer": layer,
        "taps": taps_in(layer.size),
        "key": main,
        "name": f"key {main}",
        "colour": place_colour(main),
        "share": layer.share_of(main),
    }
