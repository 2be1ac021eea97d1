"""How well noise is removed from pictures, by a network and by filters that are not trained."""

import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from scalekeys.networks.running.batches import evaluating

_WIDTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)  # standard deviations, in pixels
_STRENGTHS = (0.6, 0.8, 1.0, 1.2)  # of the filter of non-local means, in units of the noise


def psnr(found: Tensor, clean: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio of pictures with values from 0 to 1, in decibels."""
    return float((-10 * (found - clean).square().mean((1, 2, 3)).log10()).mean())


def denoised(network: nn.Module, noisy: Tensor) -> Tensor:
    """Return what a network makes of pictures, with the statistics of its training."""
    with evaluating(network), torch.no_grad():
        return torch.cat([network(part) for part in noisy.split(16)])


def baselines(noisy: Tensor, clean: Tensor, noise: float) -> dict[str, float]:
    """Return the ratio of the noisy pictures, and that of each filter at its best strength for these very pictures.

    Non-local means stand among them where scikit-image is installed.
    """
    rows = {"psnr_noisy": psnr(noisy, clean)}
    rows["psnr_gaussian"] = max(_filtered(noisy, clean, _smooth(width)) for width in _WIDTHS)
    if importlib.util.find_spec("skimage"):
        rows["psnr_nlm"] = max(_filtered(noisy, clean, _non_local(noise, factor)) for factor in _STRENGTHS)
    return rows


def _filtered(noisy: Tensor, clean: Tensor, one: Callable[[np.ndarray], np.ndarray]) -> float:
    return psnr(torch.stack([torch.from_numpy(one(picture.numpy())) for picture in noisy]), clean)


def _smooth(width: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.asarray(gaussian_filter(picture, (0, width, width), mode="nearest"))


def _non_local(noise: float, factor: float) -> Callable[[np.ndarray], np.ndarray]:
    from skimage.restoration import denoise_nl_means

    options = {"patch_size": 5, "patch_distance": 6, "h": factor * noise, "sigma": noise}
    return lambda picture: np.stack([denoise_nl_means(channel, **options) for channel in picture]).astype(np.float32)
