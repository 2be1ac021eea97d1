"""Draw why the discrete analogue of the Gaussian: ``python docs/figures/gaussians.py docs/images/gaussians.png``."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from scalekeys.scalespace import discrete_gaussian

SHOWN, RADIUS = 3, 40
SCALES = (0.3, 0.5, 1.0)


def main(output: Path) -> None:
    """Draw both kernels at three scales, and the scale that each of them has over the scale that was asked for."""
    figure, panels = plt.subplots(1, 4, figsize=(9, 2.4), layout="constrained", width_ratios=(1, 1, 1, 1.3))
    taps = torch.arange(-SHOWN, SHOWN + 1)
    shown = slice(RADIUS - SHOWN, RADIUS + SHOWN + 1)
    for panel, sigma in zip(panels, SCALES, strict=False):
        scale = torch.tensor(sigma, dtype=torch.float64)
        panel.bar(taps - 0.2, discrete_gaussian(scale.square(), RADIUS)[shown], 0.4, color="black", label="discrete")
        panel.bar(taps + 0.2, sampled(scale)[shown], 0.4, color="C1", label="sampled")
        panel.set(title=f"sigma = {sigma} pixels", xticks=taps[1:-1:2])
    panels[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.5, 1))
    scales = torch.linspace(0.05, 1.2, 200, dtype=torch.float64)
    places = torch.arange(-RADIUS, RADIUS + 1).double()
    for kernels, colour in ((discrete_gaussian(scales.square(), RADIUS), "black"), (sampled(scales), "C1")):
        panels[3].plot(scales, (kernels * places.square()).sum(-1).sqrt(), color=colour)
    panels[3].set(title="scale that the kernel has", xlabel="scale that was asked for")
    figure.savefig(output, dpi=110)


def sampled(sigma: torch.Tensor) -> torch.Tensor:
    """Return the Gaussian at whole pixels, divided by its sum."""
    places = torch.arange(-RADIUS, RADIUS + 1).double()
    return torch.softmax(-places.square() / (2 * sigma[..., None].square()), dim=-1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
