"""Which models the filters of networks deserve, by kernel size, against the random control.

All families compete by evidence; a filter is unexplained where its best model has no more of it than white noise
reaches in one filter of twenty. The control is noise of the same norms.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import scalekeys as sk
from fit_sections.record import table
from scalekeys.fitting import Fit

HELP = "which model each filter of a network deserves"
_UNEXPLAINED = "unexplained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the control")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for source in arguments.sources:
        bank = sk.extract(source)
        fits = {
            "filters": sk.fit(bank, "auto"),
            "control": sk.fit(sk.white_noise_like(bank, seed=arguments.seed), "auto"),
        }
        for size in bank.sizes:
            _, positions = bank.of_size(size)
            shares = {name: _shares(fit, positions.tolist()) for name, fit in fits.items()}
            rows += _rows(Path(source).stem, f"{size[0]}x{size[1]}", shares)
    return {"shares": rows}


def show(results: dict[str, Any]) -> None:
    table("share of the filters by the model that is selected", results["shares"])


def _shares(fit: Fit, positions: list[int]) -> dict[str, float]:
    """Share of the fitted filters by selected model."""
    words = [_UNEXPLAINED if fit.status[i] == _UNEXPLAINED else fit.family[i] for i in positions if fit.family[i]]
    return {str(word): count / len(words) for word, count in Counter(words).items()}


def _rows(network: str, size: str, shares: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    names = sorted(set().union(*shares.values()), key=lambda name: -shares["filters"].get(name, 0.0))
    return [
        {"network": network, "kernel": size, "model": name}
        | {f"{kind} %": round(100 * mine.get(name, 0.0), 2) for kind, mine in shares.items()}
        for name in names
    ]
