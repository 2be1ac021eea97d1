"""How fast the models are fitted, in units of one float32 product.

The unit is the time of the product of all N filters of 49 taps with 1,008 vectors, N as in the fit. It is measured in
two ways: ``plain``, the product as one writes it, whose result is allocated; and ``blocked``, 1,024 rows at a time into
one buffer that stays in the cache, the fastest way known to us. Both are timed before, between and after the fits, and
the ratios are those of medians. Fits of fewer filters are compared per filter.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import scalekeys as sk
from fit_sections import samples
from fit_sections.record import Progress, table

HELP = "time the models in units of one float32 product"
VECTORS = 1008
TAPS = 49
_BLOCK = 1024
_WARM_UP = 256  # filters: dictionaries are built once, which is reported by itself
_LARGEST_RATIO = {
    "ideal8": ("product", 8.0),
    "jet2": ("ideal8", 2.0),
    "oriented": ("ideal8", 10.0),
    "l1": ("ideal8", 20.0),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One way to fit one sample."""

    name: str
    sample: str
    filters: Tensor
    model: str = "ideal8"
    options: dict[str, Any] = field(default_factory=dict)

    def fit(self) -> float:
        """Return the seconds of a fit."""
        return _seconds(lambda: sk.fit(self.filters, self.model, **self.options))

    def first(self) -> float:
        """Return the seconds of a fit of a few filters, which builds what later ones find."""
        few: dict[str, Any] = {
            name: value[:_WARM_UP] if isinstance(value, Tensor) and value.ndim == 3 else value
            for name, value in self.options.items()
        }
        return _seconds(lambda: sk.fit(self.filters[:_WARM_UP], self.model, **few))


class Product:
    """The unit of time."""

    def __init__(self, rows: int, taps: int) -> None:
        draw = samples.generator(0)
        self.rows, self.taps = rows, taps
        self._left = torch.randn(rows, taps, generator=draw)
        self._right = torch.randn(taps, VECTORS, generator=draw)
        self._buffer = torch.empty(_BLOCK, VECTORS)
        self.plain: list[float] = []
        self.blocked: list[float] = []
        self.time()  # the first one is slow
        self.plain, self.blocked = [], []

    def time(self) -> None:
        self.plain.append(_seconds(lambda: self._left @ self._right))
        self.blocked.append(_seconds(self._in_blocks))

    def ratios(self, seconds: float, count: int) -> dict[str, float]:
        """Return seconds for a number of filters in units of the products, filter by filter."""
        each = seconds / count * self.rows
        return {"plain": each / statistics.median(self.plain), "blocked": each / statistics.median(self.blocked)}

    def summary(self) -> dict[str, Any]:
        operations = 2.0 * self.rows * self.taps * VECTORS
        return {
            f"{name}_{what}": value
            for name, times in (("plain", self.plain), ("blocked", self.blocked))
            for what, value in (
                ("s", statistics.median(times)),
                ("range_s", [min(times), max(times)]),
                ("gflops", operations / statistics.median(times) / 1e9),
            )
        } | {"rows": self.rows, "taps": self.taps, "timings": len(self.plain)}

    def _in_blocks(self) -> None:
        for first in range(0, self.rows, _BLOCK):
            block = self._left[first : first + _BLOCK]
            torch.mm(block, self._right, out=self._buffer[: len(block)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="*", help="checkpoints whose filters are fitted, tiled with slight noise")
    parser.add_argument("--filters", type=int, default=200_000)
    parser.add_argument("--l1-filters", type=int, default=5_000)
    parser.add_argument("--oriented-filters", type=int, default=2_000)
    parser.add_argument("--jet3-filters", type=int, default=50_000)
    parser.add_argument("--response-filters", type=int, default=5_000, help="with a covariance each")
    parser.add_argument("--fits", nargs="+", help="time these only, such as ideal8 and oriented; by default all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    found, notes = _cases(arguments)
    first_calls = {case: case.first() for case in found}
    product = Product(arguments.filters, TAPS)
    own = {taps: Product(arguments.filters, taps) for taps in (7, 9, 25, 27)}
    times: dict[Case, list[float]] = {case: [] for case in found}
    progress = Progress("fits", arguments.repeats * len(found))
    for _ in range(arguments.repeats):
        for case in found:
            for unit in (product, own.get(case.filters[0].numel())):
                if unit is not None:
                    unit.time()
            times[case].append(case.fit())
            progress.advance(1)
    for unit in (product, *own.values()):
        unit.time()
    rows = [_row(case, times[case], first_calls[case], product, own) for case in found]
    return {
        "samples": notes,
        "product": product.summary(),
        "products_of_own_size": {f"{taps} taps": unit.summary() for taps, unit in own.items()},
        "fits": rows,
        "targets": _targets(rows),
    }


def show(results: dict[str, Any]) -> None:
    for name, note in results["samples"].items():
        print(f"{name}: {note}")
    products = [{"product": "49 taps"} | results["product"]]
    products += [{"product": name} | one for name, one in results["products_of_own_size"].items()]
    table("float32 products", [_without(one, "range_s", "rows", "taps") for one in products])
    table("fits, and their time in units of the products", [_without(row, "range_s") for row in results["fits"]])
    table("targets", results["targets"])


def _cases(arguments: argparse.Namespace) -> tuple[list[Case], dict[str, str]]:
    """Return what is timed, and where the filters come from."""
    cases, notes = [], {}
    for side in (7, 5, 3):
        found, note = samples.real_or_mixtures(arguments.sources, side, arguments.filters, arguments.seed)
        notes[f"{side}x{side}"] = note
        white = samples.noise(arguments.filters, side, arguments.seed)
        for sample, filters in (("real" if arguments.sources else "mixtures", found), ("noise", white)):
            cases.append(Case("ideal8", sample, filters))
            cases.append(Case("jet2", sample, filters, "jet2"))
            if side == 7:
                cases.append(Case("jet1", sample, filters, "jet1"))
                cases.append(Case("jet3", sample, filters[: arguments.jet3_filters], "jet3"))
                cases.append(Case("second-order", sample, filters, "second-order"))
                cases.append(Case("oriented", sample, filters[: arguments.oriented_filters], "oriented"))
                cases.append(Case("l1", sample, filters[: arguments.l1_filters], options={"criterion": "l1"}))
                responses, notes["covariances"] = _by_response(sample, filters, arguments.response_filters)
                cases += responses
    for size in ((7,), (3, 3, 3)):
        drawn = torch.randn(arguments.filters, *size, generator=samples.generator(arguments.seed))
        for model in ("ideal", "jet2"):
            cases.append(Case(model, "noise", drawn, model, {"axes": len(size)}))
    return [case for case in cases if arguments.fits is None or case.name in arguments.fits], notes


def _by_response(sample: str, filters: Tensor, few: int) -> tuple[list[Case], str]:
    """Return fits to responses, and why there are none where the criterion or its options are unknown.

    The correlation of patches falls exponentially with distance: one covariance for all filters, and one for each.
    """
    side = filters.shape[-1]
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).double()
    distances = torch.cdist(places, places)
    reach = 1 + 4 * torch.rand(few, 1, 1, generator=samples.generator(0), dtype=torch.float64)
    cases, notes = [], []
    for name, some, covariance in (
        ("response", filters[:few], torch.exp(-distances / 3)),
        ("response, each its own", filters[:few], torch.exp(-distances / reach)),
    ):
        options: dict[str, Any] = {"criterion": "response", "covariance": covariance}
        try:
            sk.fit(some[:few], **options)
        except (TypeError, sk.ScaleKeysError) as error:
            notes.append(f"{name}: not measured, {error}")
        else:
            cases += [Case(f"{name}, {model}", sample, some, model, options) for model in ("ideal8", "jet2")]
    return cases, "; ".join(notes) or "correlations of patches fall exponentially with distance"


def _row(case: Case, times: list[float], first: float, product: Product, own: dict[int, Product]) -> dict[str, Any]:
    seconds, count = statistics.median(times), len(case.filters)
    taps = case.filters[0].numel()
    ratios = product.ratios(seconds, count)
    mine = own.get(taps, product).ratios(seconds, count)
    return {
        "fit": case.name,
        "filters": case.sample,
        "size": "x".join(map(str, case.filters.shape[1:])),
        "count": count,
        "s": seconds,
        "range_s": [min(times), max(times)],
        "filters_per_s": round(count / seconds),
        "by_plain": ratios["plain"],
        "by_blocked": ratios["blocked"],
        "by_own_plain": mine["plain"],
        "by_own_blocked": mine["blocked"],
        "first_call_s": first if case.sample != "noise" else None,  # the second sample finds what the first one built
    }


def _targets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the 7x7 fits with their targets; a ratio to ideal8 is taken filter by filter."""
    full = [row for row in rows if row["size"] == "7x7"]
    speeds = {row["filters"]: row["filters_per_s"] for row in full if row["fit"] == "ideal8"}
    result = []
    for row in full:
        if row["fit"] not in _LARGEST_RATIO:
            continue
        unit, largest = _LARGEST_RATIO[row["fit"]]
        measured = (
            {"plain product": row["by_plain"], "blocked product": row["by_blocked"]}
            if unit == "product"
            else {unit: speeds[row["filters"]] / row["filters_per_s"]}
        )
        result += [
            {
                "fit": row["fit"],
                "filters": row["filters"],
                "in_units_of": name,
                "ratio": ratio,
                "target": largest,
                "reached": ratio <= largest,
            }
            for name, ratio in measured.items()
        ]
    return result


def _without(row: dict[str, Any], *endings: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.endswith(endings)}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
