"""Draw the eight idealized families: ``python docs/figures/families.py docs/images/families.png``."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from scalekeys.scalespace import template

FAMILIES = {
    "smooth": "smooth: a blur",
    "sharpen": "sharpen: a point less a blur",
    "dx": "dx: left against right",
    "dy": "dy: above against below",
    "dx+": "dx+: half a pixel aside",
    "dx-": "dx-: to the other side",
    "dy+": "dy+: half a pixel aside",
    "dy-": "dy-: to the other side",
}


def main(output: Path) -> None:
    """Draw one kernel of each family, of 7 x 7 taps at a scale of one pixel."""
    figure, axes = plt.subplots(2, 4, figsize=(8, 4.6), layout="constrained")
    for panel, (name, words) in zip(axes.flat, FAMILIES.items(), strict=True):
        kernel = template(name, torch.ones(2), alpha=1.0 if name == "sharpen" else None)
        largest = float(kernel.abs().max())
        panel.imshow(kernel, cmap="RdBu_r", vmin=-largest, vmax=largest)
        panel.set(title=words, xticks=[], yticks=[])
        panel.title.set_fontsize(9)
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
