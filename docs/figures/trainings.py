"""Draw trainings beside each other: ``python docs/figures/trainings.py docs/images/trainings.png``.

The figures are those that ``benchmarks/cifar.py collect`` keeps of the small network: accuracy by seed, and what the
depthwise filters become while they are learned.
"""

import json
import sys
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

RESULTS = Path("benchmarks/results/cifar")
CONDITIONS = {
    "frozen_ideal8": "eight families, frozen",
    "frozen_rotated": "families turned at random, frozen",
    "frozen_keys": "published keys, frozen",
    "frozen_matched_keys": "noise matched to published keys, frozen",
    "scale_space_7": "2-jets, scales learned, 7x7",
    "scale_space": "2-jets, scales learned, 15x15",
    "frozen_matched_noise": "noise matched to families, frozen",
    "free_from_ideal8": "free, begun as families",
    "free_torch_init": "free, begun as noise",
    "frozen_matched_trained": "noise matched to free ones, frozen",
    "frozen_shuffled": "families, taps shuffled, frozen",
    "frozen_random": "white noise, frozen",
}
"""What the lines of the first panel say, by condition, in their order."""
COLOURS = {"free_from_ideal8": "C2", "free_torch_init": "C1", "scale_space_7": "C0", "scale_space": "C3"}
LEARNED = tuple(COLOURS)
DPI = 110


def main(output: Path) -> None:
    """Write the picture."""
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", width_ratios=(1.7, 1, 1))
    _accuracies(panels[0])
    _over_epochs(panels[1], "formation", LEARNED[:2])
    panels[1].set(title="formation (white noise: 0)", xlabel="epoch", ylim=(0, 1.04))
    _over_epochs(panels[2], "sigma", LEARNED)
    panels[2].set(title="median scale, pixels", xlabel="epoch", ylim=(0, None))
    for panel in panels[1:]:
        panel.legend(frameon=False, fontsize=7)
    figure.savefig(output, dpi=DPI)


def _accuracies(panel: Axes) -> None:
    """Draw a dot for each seed, conditions below each other."""
    found = {name: _by_seed(name) for name in CONDITIONS}
    shown = [name for name, values in found.items() if values]
    for place, name in enumerate(reversed(shown)):
        panel.plot(found[name], [place] * len(found[name]), "o", color=COLOURS.get(name, "grey"), alpha=0.7)
    panel.set_yticks(range(len(shown)), [CONDITIONS[name] for name in reversed(shown)])
    panel.set(title="5 epochs: top-1 in percent, a dot a seed")
    panel.grid(axis="x", alpha=0.3)


def _by_seed(condition: str) -> list[float]:
    files = sorted(RESULTS.glob(f"{condition}-small-*.json"))
    return [100 * json.loads(file.read_text())["top1"] for file in files]


def _over_epochs(panel: Axes, figure: str, conditions: tuple[str, ...]) -> None:
    """Draw the means over seeds of a column of the metrics."""
    for name in conditions:
        rows = duckdb.sql(
            f"select epoch, avg({figure}) from read_csv('{RESULTS}/{name}-small-*.csv', union_by_name=true)"
            " group by epoch order by epoch"
        ).fetchall()
        panel.plot(*zip(*rows, strict=True), ".-", color=COLOURS[name], label=CONDITIONS[name])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
