"""A network is checked, its offers are followed, and everything is measured in one table."""

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

import scalekeys as sk
from fit_sections.record import Progress, table
from offers_sections.subjects import Subject
from offers_sections.ways import WAYS, Changed, Way
from scalekeys.checkup import Advice
from scalekeys.checkup.audits.reach import WIDTHS
from scalekeys.errors import ScaleKeysError
from timing import Timing, channels_last, in_both_runtimes

_BESIDE = ("before", "control")
_IMAGES = 16
"""On which a receptive field is measured."""


class Followed:
    """The offers of a network.

    Parameters
    ----------
    name : str
    subject : callable
        Returns the network with its images and measure.
    unoffered : sequence of Way, optional
        What is done though it is not offered.
    beside : callable, optional
        Returns rows that say how far the network can be trusted.
    """

    def __init__(
        self,
        name: str,
        subject: Callable[[], Subject],
        *,
        unoffered: Sequence[Way] = (),
        beside: Callable[[], list[dict[str, Any]]] | None = None,
    ) -> None:
        self.HELP = f"follow the offers for {name}"
        self._name, self._subject, self._unoffered, self._beside = name, subject, unoffered, beside

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--repeats", type=int, default=40, help="runs of each network that are timed")

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        subject = self._subject()
        checkup = sk.check(subject.network, size=subject.size)
        offers = [
            (_row(advice), [place.layer for place in advice.places], way)
            for advice in checkup.advice
            for way in WAYS.get(advice.name, ())
        ] + [({"finding": "not offered"}, [], way) for way in self._unoffered]
        progress = Progress("offers", len(offers))
        rows: list[dict[str, Any]] = []
        found: list[tuple[dict[str, Any], Any]] = []
        networks = dict(zip(_BESIDE, (subject.network, deepcopy(subject.network)), strict=True))
        for told, layers, way in offers:
            row = told | {"command": way.command}
            try:
                made = [way.follow(subject.network, layers, images) for images in subject.parts()]
            except ScaleKeysError as error:
                rows.append(row | {"refused": str(error)})
            else:
                row |= _saved(subject.network, made[0])
                if _shapes(made[0].module) != _shapes(subject.network):
                    networks[way.command] = made[0].module
                found.append((row, subject.measured([one.module for one in made])))
                rows.append(row)
            progress.advance(1)
        for (row, _), comparison in zip(found, subject.compared([one for _, one in found]), strict=True):
            row["accuracy"] = comparison
        _add_times(rows, networks, subject.size, arguments.repeats)
        hints = [_row(advice) | {"expect": advice.expect} for advice in checkup.advice if advice.name not in WAYS]
        return {
            "network": self._name,
            "figure": subject.figure,
            "checked": {"filters": checkup.filters, "layers": checkup.layers, "audits": len(checkup.audits)},
            "offers": rows,
            "hints": hints,
            "reach": _reach(subject) if "reach" in checkup.audits else None,
            "nothing_found": _unasked(subject, {advice.name for advice in checkup.advice}),
            "beside": [] if self._beside is None else self._beside(),
        }

    def show(self, results: dict[str, Any]) -> None:
        if results["beside"]:
            table(f"{self._name} as rebuilt", results["beside"])
        shown = [
            {"finding": row["finding"], "command": row["command"], "done": row.get("done", row.get("refused"))}
            | {name: "{:,} -> {:,}".format(*row[name]) for name in ("depthwise numbers", "parameters") if name in row}
            for row in results["offers"]
        ]
        for row in shown:
            table(f"{self._name}: {row.pop('finding')}", [row])
        measured = [row for row in results["offers"] if "accuracy" in row]
        table(f"{results['figure']}", [{"command": row["command"]} | row["accuracy"] for row in measured])
        for runtime in ("torch", "onnxruntime"):
            timed = [row for row in measured if row["time"] is not None]
            table(runtime, [{"command": row["command"]} | row["time"][runtime] for row in timed])
        table("hints", results["hints"])
        if results["reach"]:
            table("field of the last layer, pixels", [results["reach"]])
        table("actions of what was not found", results["nothing_found"])


def _row(advice: Advice) -> dict[str, Any]:
    return {"finding": advice.name, "certainty": advice.certainty, "what": advice.what, "action": advice.action}


def _saved(network: nn.Module, changed: Changed) -> dict[str, Any]:
    parameters = [sum(one.numel() for one in each.parameters()) for each in (network, changed.module)]
    return {"done": changed.told, "depthwise numbers": list(changed.numbers), "parameters": parameters}


def _shapes(network: nn.Module) -> list[torch.Size]:
    return [parameter.shape for parameter in network.parameters()]


def _add_times(
    rows: Sequence[dict[str, Any]], networks: dict[str, nn.Module], size: tuple[int, int], repeats: int
) -> None:
    """Time the networks of which shapes have changed; the others run the same operations."""
    if len(networks) == len(_BESIDE):
        for row in rows:
            row["time"] = None
        return
    image = channels_last(torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)))
    timings = in_both_runtimes({name: channels_last(one) for name, one in networks.items()}, image, repeats)
    for row in rows:
        name = row["command"]
        row["time"] = {key: _time(each, name) for key, each in timings.items()} if name in networks else None


def _time(timings: dict[str, Timing], name: str) -> dict[str, Any]:
    before, control = timings["before"].to_dict(), timings["control"].to_dict()
    return {"before_ms": before["ms"]} | timings[name].to_dict() | {"control": control["ratio"]}


def _reach(subject: Subject) -> dict[str, Any]:
    """Measure the receptive field of the last depthwise layer, beside what is predicted of it."""
    last = sk.receptive_field(subject.network, subject.parts()[0][0][:_IMAGES])[-1]
    figures = {"predicted": last.predicted, "measured": last.measured}
    widths = {
        name: None if values is None else [round(WIDTHS * one, 1) for one in values] for name, values in figures.items()
    }
    return {"inputs": list(subject.size), "layer": last.layer} | widths


def _unasked(subject: Subject, found: set[str]) -> list[dict[str, Any]]:
    """Say what the actions do that look for themselves, where the check-up has found nothing for them."""
    images = subject.parts()[0]
    rows = []
    if "dead-filters" not in found:
        rows.append({"action": "sk.prune_dead", "does": sk.prune_dead(subject.network, images[0][:2]).removed})
    if "too-large" not in found:
        rows.append({"action": "sk.crop", "does": len(sk.crop(subject.network).layers)})
    return rows
