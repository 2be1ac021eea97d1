"""Draw how far frozen filters are ahead in each kind of training: ``python docs/figures/gaps.py docs/images/gaps.png``.

The figures are those that ``benchmarks/cifar.py collect`` keeps.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from trainings import COLOURS, DPI, RESULTS

SETTINGS = {
    "small_slow": "5 epochs, a quarter of the learning rate",
    "small": "5 epochs",
    "small_fast": "5 epochs, four times the learning rate",
    "small_long": "16 epochs",
    "small_long_fast": "16 epochs, four times the learning rate",
    "small_longer": "48 epochs",
    "small_few": "a tenth of the images, 48 epochs",
    "small_coarse": "coarse images, 5 epochs",
    "5": "larger network, 5 epochs",
}
"""What is trained, by the name of its budget, from above."""
PANELS = (
    ("free_torch_init", ("frozen_ideal8", "frozen_matched_noise"), "points ahead of free filters"),
    ("frozen_matched_noise", ("frozen_ideal8",), "points ahead of matched noise"),
)
"""What is compared with, what is compared, and the title."""


def main(output: Path) -> None:
    """Write the picture."""
    rows = json.loads(RESULTS.with_suffix(".json").read_text())["budgets"]["conditions"]
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained", width_ratios=(2.4, 1))
    for panel, (other, conditions, title) in zip(panels, PANELS, strict=True):
        for row in rows:
            if row["condition"] in conditions and row["budget"] in SETTINGS:
                _difference(panel, row, other, 0.16 * (conditions.index(row["condition"]) - (len(conditions) - 1) / 2))
        panel.axvline(0, color="black", linewidth=0.8)
        panel.grid(axis="x", alpha=0.3)
        panel.set_title(title, fontsize=10)
    panels[0].set_yticks(range(len(SETTINGS)), list(SETTINGS.values()))
    panels[0].invert_yaxis()
    panels[0].plot([], [], "o", color=COLOURS["frozen_ideal8"], label="families, frozen")
    panels[0].plot([], [], "o", color=COLOURS["frozen_matched_noise"], label="matched noise, frozen")
    panels[0].plot([], [], "o", color="grey", markerfacecolor="white", label="one seed")
    panels[0].legend(loc="lower right", fontsize=9)
    figure.savefig(output, dpi=DPI)


def _difference(panel: Axes, row: dict, other: str, shift: float) -> None:
    """Draw the mean over seeds with its interval; with one seed, with that of the test images."""
    found = row["differences"][other]
    over_seeds = found["interval_over_seeds"]
    low, high = over_seeds or found["intervals"][0]
    place, colour = list(SETTINGS).index(row["budget"]) + shift, COLOURS[row["condition"]]
    panel.plot([100 * low, 100 * high], [place, place], color=colour)
    panel.plot(100 * found["mean"], place, "o", color=colour, markerfacecolor=colour if over_seeds else "white")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
