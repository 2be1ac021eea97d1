"""What richer models add beyond matched noise, and what the comparison costs, as Markdown tables.

    python benchmarks/ladder.py ../shared/weights/*.pth ../shared/zoo/edgeface_xs_q.pt

One row for each network, kernel size and step of the ladder (``scalekeys.ladder``). The last table gives the processor
time of the ladder in units of that of the three fits of the idealized families that it starts from, in the same run,
and with ``--refined`` by how much a refined search of the oriented families exceeds the grid that the ladder uses.
"""

import argparse
from time import process_time

import torch

import scalekeys as sk
from scalekeys.fitting.ladder import LadderGroup
from scalekeys.fitting.ladder_steps import Compared, Difference

_REFINED = 60
HEADS = (
    *("network", "kernel", "step", "numbers", "explained", "adds", "beyond matched"),
    *("of the rest", "rest beyond matched"),
)


def main(sources: list[str], kinds: str, *, refined: bool) -> None:
    """Print the tables."""
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    costs = []
    for source in sources:
        bank = sk.extract(source, kinds=kinds)
        banks = (bank, sk.white_noise_like(bank), sk.matched_noise_like(bank))
        began = process_time()
        fits = [sk.fit(own) for own in banks]
        fitted = process_time()
        found = sk.ladder(*fits)
        costs.append((bank, (process_time() - fitted) / (fitted - began)))
        for group in found.sizes if len(found.sizes) == 1 else (*found.sizes, found.network):
            print_rows(bank.model, group, whole=group is found.network)
    print("\n| network | time of the ladder | oriented, refined less grid, median (largest) |\n|---|---|---|")
    for bank, ratio in costs:
        print(f"| {bank.model} | {ratio:.2f} | {shortfall(bank) if refined else '-'} |")


def print_rows(network: str, group: LadderGroup, *, whole: bool) -> None:
    """Print the steps of a kernel size, or of a whole network."""
    for step in group.steps:
        cells = (
            network,
            "all" if whole else f"{group.size} ({group.sampled} of {group.filters})",
            step.model,
            str(step.numbers),
            shares(step.explained),
            shares(step.gain),
            interval(step.beyond_matched),
            shares(step.part_of_rest),
            interval(step.rest_beyond_matched),
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def shares(found: Compared) -> str:
    """Write the shares of filters, matched and white noise in percent."""
    return ", ".join(
        "-" if value is None else f"{100 * value:.1f}" for value in (found.filters, found.matched, found.white)
    )


def interval(found: Difference) -> str:
    """Write a difference in points, its interval, and the word for it."""
    if found.value is None or found.low is None or found.high is None:
        return "-"
    low, value, high = (f"{100 * one:+.1f}" for one in (found.low, found.value, found.high))
    return f"{value} [{low}, {high}] {found.word}"


def shortfall(bank: sk.FilterBank) -> str:
    """Say by how much a refined search of oriented families explains more than the grid, of some filters."""
    if not any(layer.axes == 2 and min(layer.size) > 2 for layer in bank):
        return "-"
    grid, step = sk.orientation(bank).free, max(1, len(bank) // _REFINED)
    chosen = [rows[::step] for rows in (torch.arange(len(layer)) for layer in bank)]
    some = bank.with_filters([layer.kernels[rows] for layer, rows in zip(bank, chosen, strict=True)])
    starts = [part.start for _, part in bank.parts()]
    places = torch.cat([rows + start for rows, start in zip(chosen, starts, strict=True)])
    exceeds = sk.fit(some, "oriented").r2 - grid[places]
    known = exceeds[exceeds.isfinite()]
    return f"{float(known.median()):.4f} ({float(known.max()):.4f}) of {len(known)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--kinds", default="depthwise")
    parser.add_argument("--refined", action="store_true")
    arguments = parser.parse_args()
    main(arguments.sources, arguments.kinds, refined=arguments.refined)
