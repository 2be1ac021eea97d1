"""Draw the eight idealized families: ``python docs/figures/families.py docs/images/families.png``."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from scalekeys.scalespace import template

FAMILIES = {
    "smooth": "smooth: a blur",
    "sharpen": "sharpen: a point minus a ring",
    "dx": "dx: change from left to right",
    "dy": "dy: change from below to above",
    "dx+": "dx+: dx half a pixel further left",
    "dx-": "dx-: dx half a pixel further right",
    "dy+": "dy+: dy half a pixel further down",
    "dy-": "dy-: dy half a pixel further up",
}


def main(output: Path) -> None:
    """Draw one kernel of each family, of 7 x 7 taps at a scale of one pixel, `sharpen` at 0.7 pixels and strength 3."""
    figure, axes = plt.subplots(2, 4, figsize=(8, 4.6), layout="constrained")
    for panel, (name, words) in zip(axes.flat, FAMILIES.items(), strict=True):
        sharpens = name == "sharpen"
        kernel = template(name, torch.full((2,), 0.49 if sharpens else 1.0), alpha=3.0 if sharpens else None)
        largest = float(kernel.abs().max())
        panel.imshow(kernel, cmap="RdBu_r", vmin=-largest, vmax=largest)
        panel.set(title=words, xticks=[], yticks=[])
        panel.title.set_fontsize(8)
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
