"""Which models the filters of networks deserve, by kernel size, and how much noise is taken for something.

All families compete by evidence; a filter is unexplained where its best model has no more of it than white noise
reaches in one filter of twenty. Beside the filters stand matched noise, which is as smooth as they are, and white
noise, both of the same norms; each share of filters above the threshold has its interval of 95 % (Wilson).
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import scalekeys as sk
from fit_sections.record import table
from scalekeys.fitting import Fit
from scalekeys.proportions import wilson_interval

HELP = "which model each filter of a network deserves"
_UNEXPLAINED = "unexplained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    shares: list[dict[str, Any]] = []
    above: list[dict[str, Any]] = []
    for source in arguments.sources:
        bank = sk.extract(source)
        fits = {
            "filters": sk.fit(bank, "auto"),
            "matched noise": sk.fit(sk.matched_noise_like(bank, seed=arguments.seed), "auto"),
            "white noise": sk.fit(sk.white_noise_like(bank, seed=arguments.seed), "auto"),
        }
        for size in bank.sizes:
            positions = bank.of_size(size)[1].tolist()
            place = {"network": Path(source).stem, "kernel": "x".join(map(str, size))}
            counts = {name: _counts(fit, positions) for name, fit in fits.items()}
            shares += [place | row for row in _rows(counts)]
            above.append(place | {"fitted": counts["filters"].total()} | _above(counts))
    return {"above": above, "shares": shares}


def show(results: dict[str, Any]) -> None:
    table("share of filters and of noise above the threshold of white noise, %", results["above"])
    table("share by the model that is selected", results["shares"])


def _counts(fit: Fit, positions: list[int]) -> Counter[str]:
    """Count the fitted filters by selected model."""
    return Counter(
        str(_UNEXPLAINED if fit.status[i] == _UNEXPLAINED else fit.family[i]) for i in positions if fit.family[i]
    )


def _above(counts: dict[str, Counter[str]]) -> dict[str, str]:
    """Return the shares that are not unexplained, with their intervals."""
    return {name: _interval(mine.total() - mine[_UNEXPLAINED], mine.total()) for name, mine in counts.items()}


def _interval(found: int, count: int) -> str:
    if not count:
        return "none"
    low, high = wilson_interval(found, count)
    return f"{100 * found / count:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _rows(counts: dict[str, Counter[str]]) -> list[dict[str, Any]]:
    names = sorted(set().union(*counts.values()), key=lambda name: -counts["filters"][name])
    return [
        {"model": name}
        | {f"{kind} %": round(100 * mine[name] / max(1, mine.total()), 2) for kind, mine in counts.items()}
        for name in names
    ]
