"""The denoiser that comes with the package: its kernels are formed beside both controls, and it removes noise."""

import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

import scalekeys as sk
from scalekeys.training.network_source import Figures, open_network, preparation_of


@pytest.fixture(scope="module")
def fits():
    bank = sk.extract("builtin:denoiser")
    return [sk.fit(one) for one in (bank, sk.matched_noise_like(bank), sk.white_noise_like(bank))]


def test_the_families_explain_far_more_of_its_kernels_than_of_both_kinds_of_noise(fits):
    trained, matched, white = (100 * fit.share_explained for fit in fits)
    assert trained > matched + 10
    assert matched > white + 20
    assert fits[0].dead.sum() == 3


def test_its_kernels_are_formed_beside_white_noise_and_better_explained_than_matched_noise(fits):
    group = sk.formation(fits[0], fits[1]).network
    assert (group.counted, group.white.word, group.matched.word) == (93, "formed", "formed")
    assert group.matched.low > 0.29  # the upper end of the interval of the other network of the package


def test_it_removes_noise_from_photographs_better_than_the_best_smoothing():
    network = open_network("builtin:denoiser")
    clean = torch.stack([torch.from_numpy(one[100:228, 200:328].mean(-1)) for one in load_sample_images().images])
    clean = clean[:, None].float() / 255
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))

    def decibels(found):
        return float((-10 * (found - clean).square().mean((1, 2, 3)).log10()).mean())

    smooth = [torch.from_numpy(gaussian_filter(noisy.numpy(), (0, 0, s, s))) for s in (0.8, 1.0, 1.3, 1.6, 2.0)]
    with torch.no_grad():
        assert decibels(network.module(noisy)) > max(map(decibels, smooth)) > decibels(noisy)
    assert preparation_of(network, Figures()).figures["mean"] == (0.0,)
