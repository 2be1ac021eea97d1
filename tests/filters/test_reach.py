"""The predicted receptive field: composed kernels, dead filters, dilation, axes, and what is not known."""

import numpy as np
import pytest
import torch

from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.filters.reach import predicted_reach


def layer(name, kernels, step=1.0, **known):
    return LayerFilters(name, kernels, pitch=(step,) * (kernels.ndim - 1), **known)


def variance(profile):
    places = np.arange(len(profile))
    mean = (profile * places).sum() / profile.sum()
    return (profile * (places - mean) ** 2).sum() / profile.sum()


def test_variances_are_those_of_the_kernels_convolved_on_the_grid_of_the_input():
    draw = np.random.default_rng(0)
    first, second = draw.uniform(size=5), draw.uniform(size=4)
    spaced = np.zeros(10)
    spaced[::3] = second
    whole = np.convolve(first, spaced)
    path = (layer("a", torch.from_numpy(first)[None]), layer("b", torch.from_numpy(second)[None], 3.0))
    reach = predicted_reach(FilterBank(path))[-1]
    assert reach.sigma[0] == pytest.approx(variance(whole) ** 0.5, abs=1e-12)
    assert reach.size == (len(whole),)


def test_dilation_counts_as_pitch_does():
    kernels = torch.rand(4, 3, 5)
    dilated, coarse = (
        predicted_reach(FilterBank((one,)))[0]
        for one in (layer("a", kernels, 2.0, dilation=3), layer("a", kernels, 6.0))
    )
    assert dilated == coarse


def test_sides_stand_in_the_order_of_the_array():
    kernels = torch.zeros(2, 5, 3)
    kernels[:, :, 1] = 1
    (reach,) = predicted_reach(FilterBank((layer("a", kernels),)))
    assert reach.added == pytest.approx((2.0, 0.0))
    assert reach.flat == pytest.approx((2.0, 8 / 12))
    assert reach.size == (5, 3)


def test_the_magnitude_of_a_filter_does_not_count():
    kernels = torch.rand(8, 5, dtype=torch.float64)
    scaled = kernels * torch.logspace(-2, 2, 8, dtype=torch.float64)[:, None]
    one, other = (predicted_reach(FilterBank((layer("a", part),)))[0].sigma[0] for part in (kernels, -scaled * 1e200))
    assert one == pytest.approx(other, rel=1e-12)


def test_dead_and_unreadable_filters_count_for_nothing():
    kernels = torch.rand(16, 5, 5)
    more = torch.cat([kernels, torch.zeros(1, 5, 5), 1e-9 * torch.rand(1, 5, 5), torch.full((1, 5, 5), torch.nan)])
    assert predicted_reach(FilterBank((layer("a", more),))) == predicted_reach(FilterBank((layer("a", kernels),)))
    (nothing,) = predicted_reach(FilterBank((layer("a", torch.zeros(3, 5, 5)),)))
    assert (nothing.sigma, nothing.size) == ((0.0, 0.0), (5, 5))


def test_nothing_is_known_from_a_layer_of_unknown_pitch_on():
    known, unknown = layer("a", torch.rand(3, 5, 5)), LayerFilters("b", torch.rand(3, 5, 5))
    found = predicted_reach(FilterBank((known, unknown, known)))
    assert found[0] is not None
    assert found[1:] == (None, None)
    assert predicted_reach(FilterBank((layer("row", torch.rand(3, 5)), known))) == (None, None)
    assert predicted_reach(FilterBank(())) == ()
