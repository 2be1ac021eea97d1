"""The tables of a study on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from torch import Tensor

from scalekeys.cli.show.cells import Terminal, bold, plain_table, print_whole
from scalekeys.fitting.spec import Scales
from scalekeys.paper import (
    METHODS,
    RICHER_MODELS,
    SPREAD_MEASURES,
    Method,
    Study,
    compare,
    methods_with,
    questionable_conventions,
    spread_table,
    worst_deviations,
)
from scalekeys.scalespace import FAMILIES


def print_study(study: Study, folder: Path | None) -> None:
    """Print the tables of the paper, computed beside published, and where the article is."""
    console = Terminal()
    console.say(f"{len(study.filters)} filters: {study.source}")
    for title, table in _tables(study):
        console.print("\n", bold(title), sep="", soft_wrap=True)
        print_whole(console, table)
    _print_comparison(study, console)
    if folder is not None:
        console.say(f"\narticle: {folder / 'article.html'}")


def _tables(study: Study) -> list[tuple[str, Table]]:
    return [
        ("Spatial spread", _spread_table(study)),
        ("Scales sigma x, sigma y (published window)", _scales_table(study, "per-axis")),
        ("Common scale", _scales_table(study, "common")),
        ("Scale shared by a group", _shared_table(study)),
        ("What the models leave: |K - N| / |N|, l2", _residual_table(study)),
        ("Standard errors of the l2 scales (published window)", _error_table(study)),
        ("What the exact window moves: exact less published", _window_table(study)),
        ("r2 of richer models (free amplitudes, exact window)", _richer_table(study)),
    ]


def _spread_table(study: Study) -> Table:
    offsets = study.dc_offset
    table = _filter_table(*SPREAD_MEASURES, "DC offset")
    for name, family, numbers in zip(study.names, study.families, spread_table(study.spread).tolist(), strict=True):
        offset = f"{offsets[name]:.6f}" if name in offsets else ""
        table.add_row(name, family, *(f"{value:.4f}" for value in numbers), offset)
    return table


def _scales_table(study: Study, scales: Scales) -> Table:
    methods = methods_with(scales)
    table = _filter_table(*_headers(methods))
    for i, name in enumerate(study.names):
        cells = []
        for method in methods:
            fit = study.fits["published", method.name]
            if "alpha" in FAMILIES[study.families[i]].parameters:
                cells.append(f"{fit.sigma[i, 0]:.4f}, alpha {fit.alpha[i]:.4f}")
            elif scales == "per-axis":
                cells.append(f"{fit.sigma[i, 0]:.4f}, {fit.sigma[i, 1]:.4f}")
            else:
                cells.append(f"{fit.sigma[i, 0]:.4f}")
        table.add_row(name, study.families[i], *cells)
    return table


def _shared_table(study: Study) -> Table:
    methods = methods_with("shared")
    table = plain_table("group", *_headers(methods))
    for group, members in study.groups.items():
        sigmas = [study.fits["published", method.name].sigma[members[0], 0] for method in methods]
        table.add_row(group, *(f"{sigma:.4f}" for sigma in sigmas))
    return table


def _residual_table(study: Study) -> Table:
    errors = [study.relative_error(method.name) for method in METHODS]
    return _number_table(study, [method.name for method in METHODS], errors, "{:.3f}")


def _error_table(study: Study) -> Table:
    fit = study.fits["published", "D1"]
    table = _filter_table("sigma x", "+-", "", "sigma y", "+-", "")
    for i, name in enumerate(study.names):
        cells = []
        for axis in (0, 1):
            error = float(fit.sigma_error[i, axis])
            cells += [f"{fit.sigma[i, axis]:.4f}", "-" if error != error else f"{error:.4f}", fit.sigma_status[i, axis]]
        table.add_row(name, study.families[i], *cells)
    return table


def _window_table(study: Study) -> Table:
    methods = methods_with("per-axis")
    table = _filter_table(*_headers(methods))
    for i, name in enumerate(study.names):
        moves = [
            study.fits["exact", method.name].sigma[i] - study.fits["published", method.name].sigma[i]
            for method in methods
        ]
        table.add_row(name, study.families[i], *(", ".join(map(_signed, move.tolist())) for move in moves))
    return table


def _headers(methods: Sequence[Method]) -> list[str]:
    return [f"{method.name} {method.criterion}" for method in methods]


def _signed(value: float) -> str:
    """Write a difference, without a sign where it is zero to four decimals."""
    return "0.0000" if abs(value) < 5e-5 else f"{value:+.4f}"


def _richer_table(study: Study) -> Table:
    headers = [f"{model} ({numbers} numbers)" for model, numbers in RICHER_MODELS.items()]
    return _number_table(study, headers, [study.richer[model].r2 for model in RICHER_MODELS], "{:.4f}")


def _number_table(study: Study, headers: Sequence[str], columns: Sequence[Tensor], style: str) -> Table:
    table = _filter_table(*headers)
    for i, name in enumerate(study.names):
        table.add_row(name, study.families[i], *(style.format(float(column[i])) for column in columns))
    return table


def _filter_table(*headers: str) -> Table:
    return plain_table("filter", "family", *headers, left=(0, 1))


def _print_comparison(study: Study, console: Terminal) -> None:
    """Print how far the computed figures are from the published ones, and each disagreement."""
    comparisons = compare(study)
    if not comparisons:
        return
    headers = ("published table", "figures", "largest deviation", "at", "published", "computed", "reached")
    table = plain_table(*headers, left=(0, 3, 6))
    for title, worst in worst_deviations(comparisons).items():
        mine = [one for one in comparisons if one.table == title]
        reached = sum(one.reached for one in mine)
        table.add_row(
            title,
            str(len(mine)),
            f"{worst.deviation:.1e}",
            f"filter {worst.filter}, {worst.quantity}",
            f"{worst.published:g}",
            f"{worst.computed:.6f}",
            f"{reached} of {len(mine)} within {worst.tolerance:.2g}",
        )
    console.print("\n", bold("Computed against published"), sep="", soft_wrap=True)
    print_whole(console, table)
    console.print("\n", bold("Where the published material and this analysis disagree"), sep="", soft_wrap=True)
    for one in questionable_conventions(study):
        values = f"({one.measure}: {one.published:.4f} as published, {one.here:.4f} here)"
        console.say(f"- {one.title}. {one.sentence} {values}")
