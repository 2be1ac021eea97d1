"""Draw trainings beside each other: ``python docs/figures/trainings.py docs/images/trainings.png``.

The figures are those that ``benchmarks/cifar.py collect`` keeps of the small network: accuracy by seed and by number of
epochs, and what the depthwise filters become while they are learned.
"""

import json
import sys
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

RESULTS = Path("benchmarks/results/cifar")
COLOURS = {
    "frozen_keys": "C3",
    "frozen_matched_keys": "C5",
    "frozen_ideal8": "C0",
    "frozen_matched_noise": "C4",
    "free_from_ideal8": "C2",
    "learned_scales": "C6",
    "free_torch_init": "C1",
}
"""Of the conditions that are drawn over epochs; the others are grey."""
BUDGETS = ("small", "small_long", "small_longer")
"""The same trainings with more epochs."""
LEARNED = ("free_from_ideal8", "learned_scales", "free_torch_init")
FIGURES = {"formation": "formation", "r2": "median r²", "sigma": "median scale, px"}
"""What is drawn of filters that are learned, by column of the metrics."""
DPI = 110


def main(output: Path) -> None:
    """Write the picture."""
    rows = json.loads(RESULTS.with_suffix(".json").read_text())["budgets"]["conditions"]
    layout = [["seeds", *["budgets"] * len(FIGURES)], ["seeds", *FIGURES]]
    figure, panels = plt.subplot_mosaic(layout, figsize=(13, 5.6), layout="constrained", width_ratios=(1.9, 1, 1, 1))
    _by_seed(panels["seeds"], rows)
    _by_budget(panels["budgets"], rows)
    for column, title in FIGURES.items():
        _over_epochs(panels[column], column)
        panels[column].set(xlabel="epoch", xscale="log", ylim=(0, None))
        panels[column].set_title(f"learned: {title}", fontsize=9)
        _epochs_in_numbers(panels[column], [1, 2, 5, 16, 48])
    figure.savefig(output, dpi=DPI)


def _by_seed(panel: Axes, rows: list[dict]) -> None:
    """Draw a dot for each seed, conditions below each other."""
    shown = sorted((row for row in rows if row["budget"] == "small_long"), key=lambda row: row["top1_mean"])
    for place, row in enumerate(shown):
        values = [100 * value for value in row["top1"]]
        panel.plot(values, [place] * len(values), "o", color=COLOURS.get(row["condition"], "grey"), alpha=0.7)
    panel.set_yticks(range(len(shown)), [row["filters"] for row in shown])
    for row, label in zip(shown, panel.get_yticklabels(), strict=True):
        label.set_color(COLOURS.get(row["condition"], "black"))
    panel.set_title("16 epochs: top-1 in percent, a dot a seed", fontsize=9)
    panel.grid(axis="x", alpha=0.3)


def _by_budget(panel: Axes, rows: list[dict]) -> None:
    """Draw the means over seeds against the number of epochs."""
    for condition, colour in COLOURS.items():
        mine = [row for row in rows if row["condition"] == condition and row["budget"] in BUDGETS]
        points = sorted((row["epochs"], 100 * row["top1_mean"]) for row in mine)
        panel.plot(*zip(*points, strict=True), "o-", color=colour)
    ticks = sorted({row["epochs"] for row in rows if row["budget"] in BUDGETS})
    panel.set(xlabel="epochs of the training", xscale="log")
    panel.set_title("top-1 in percent of longer trainings, colours as at the left", fontsize=9)
    _epochs_in_numbers(panel, ticks)
    panel.grid(axis="y", alpha=0.3)


def _epochs_in_numbers(panel: Axes, epochs: list[int]) -> None:
    panel.set_xticks(epochs, [str(number) for number in epochs])
    panel.xaxis.set_minor_locator(NullLocator())


def _over_epochs(panel: Axes, column: str) -> None:
    """Draw a column of the metrics of filters that are learned, means over the seeds of their longest training."""
    for name in LEARNED:
        longest = [budget for budget in BUDGETS if list(RESULTS.glob(f"{name}-{budget}-*.csv"))][-1]
        files = f"{RESULTS}/{name}-{longest}-*.csv"
        found = duckdb.sql(
            f"select epoch, avg({column}) from read_csv('{files}', union_by_name=true) group by epoch order by epoch"
        ).fetchall()
        panel.plot(*zip(*found, strict=True), ".-", color=COLOURS[name])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
