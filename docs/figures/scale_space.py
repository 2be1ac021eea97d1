"""Draw the page on scale space: ``python docs/figures/scale_space.py docs/images`` writes its three pictures."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

import scalekeys as sk
from scalekeys.scalespace import discrete_gaussian

FAMILIES = ("smooth", "dx", "dx+", "dxx")
SIGMAS = (0.0, 0.5, 1.0, 2.0, torch.inf)
SHOWN = 8
ASKED, RADIUS, TAPS = (0.3, 0.5, 1.0), 40, 3
DPI = 110


def main(folder: Path) -> None:
    """Write the pictures."""
    _gaussians(folder / "gaussians.png")
    _scales(folder / "scales.png")
    _controls(folder / "controls.png")


def _gaussians(output: Path) -> None:
    """Draw both kernels at three scales, and the scale that each of them has over the scale that was asked for."""
    figure, panels = plt.subplots(1, 4, figsize=(9, 2.4), layout="constrained", width_ratios=(1, 1, 1, 1.3))
    taps = torch.arange(-TAPS, TAPS + 1)
    shown = slice(RADIUS - TAPS, RADIUS + TAPS + 1)
    for panel, sigma in zip(panels, ASKED, strict=False):
        scale = torch.tensor(sigma, dtype=torch.float64)
        panel.bar(taps - 0.2, discrete_gaussian(scale.square(), RADIUS)[shown], 0.4, color="black", label="discrete")
        panel.bar(taps + 0.2, _sampled(scale)[shown], 0.4, color="C1", label="sampled")
        panel.set(title=f"sigma = {sigma} pixels", xticks=taps[1:-1:2])
    panels[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.5, 1))
    scales = torch.linspace(0.05, 1.2, 200, dtype=torch.float64)
    places = torch.arange(-RADIUS, RADIUS + 1).double()
    for kernels, colour in ((discrete_gaussian(scales.square(), RADIUS), "black"), (_sampled(scales), "C1")):
        panels[3].plot(scales, (kernels * places.square()).sum(-1).sqrt(), color=colour)
    panels[3].set(title="scale that the kernel has", xlabel="scale that was asked for")
    figure.savefig(output, dpi=DPI)


def _sampled(sigma: Tensor) -> Tensor:
    """Return the Gaussian at whole pixels, divided by its sum."""
    places = torch.arange(-RADIUS, RADIUS + 1).double()
    return torch.softmax(-places.square() / (2 * sigma[..., None].square()), dim=-1)


def _scales(output: Path) -> None:
    """Draw four families of 7 x 7 taps at five scales, the same along both axes."""
    figure, axes = plt.subplots(len(FAMILIES), len(SIGMAS), figsize=(7.6, 6.2), layout="constrained")
    for row, name in zip(axes, FAMILIES, strict=True):
        for panel, sigma in zip(row, SIGMAS, strict=True):
            _draw(panel, sk.scalespace.template(name, torch.full((2,), sigma**2)))
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for panel, sigma in zip(axes[0], SIGMAS, strict=True):
        panel.set_title("sigma infinite" if sigma == torch.inf else f"sigma {sigma:g}", fontsize=10)
    figure.savefig(output, dpi=DPI)


def _controls(output: Path) -> None:
    """Draw trained kernels, their models, and noise of both kinds, from the best explained kernel to the worst."""
    bank = sk.extract("builtin:denoiser")
    fit = sk.fit(bank)
    rows = {_named("trained", fit.r2): _spread(bank, fit.r2), "their models": _spread(fit.kernels(), fit.r2)}
    for name, noise in (("matched noise", sk.matched_noise_like(bank)), ("white noise", sk.white_noise_like(bank))):
        r2 = sk.fit(noise).r2
        rows[_named(name, r2)] = _spread(noise, r2)
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(8.6, 4.4), layout="constrained")
    for row, (name, kernels) in zip(axes, rows.items(), strict=True):
        for panel, kernel in zip(row, kernels, strict=True):
            _draw(panel, kernel - kernel.mean())
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(output, dpi=DPI)


def _spread(bank: sk.FilterBank, r2: Tensor) -> Tensor:
    """Return kernels of all layers at equal steps of rank, from the largest r2 to the smallest."""
    order = r2.argsort(descending=True)
    order = order[r2[order].isfinite()]  # dead kernels have no r2
    places = torch.linspace(0, len(order) - 1, SHOWN).round().long()
    return torch.cat([layer.kernels for layer in bank])[order[places]]


def _named(name: str, r2: Tensor) -> str:
    return f"{name}\nmedian r² {r2.nanmedian():.2f}"


def _draw(panel: Axes, kernel: Tensor) -> None:
    largest = float(kernel.abs().max())
    panel.imshow(kernel, cmap="RdBu_r", vmin=-largest, vmax=largest)
    panel.set(xticks=[], yticks=[])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
